# How gunicorn serves the dashboard to httpd. To change it, copy this file below
# /etc/openstack-dashboard and say in /etc/sysconfig/openstack-dashboard:
# GUNICORN_CMD_ARGS=--config=/etc/openstack-dashboard/gunicorn.conf.py

# A port that SELinux lets httpd connect to.
bind = ["127.0.0.1:8008"]
workers = 3
worker_class = "gthread"
threads = 4
timeout = 120
graceful_timeout = 30
proc_name = "dashboard"
worker_tmp_dir = "/dev/shm"
raw_env = ["SCRIPT_NAME=/dashboard"]
wsgi_app = "openstack_dashboard.wsgi:application"
# One process makes the secret key, and the pages are loaded once.
preload_app = True
