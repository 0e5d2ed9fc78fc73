# How gunicorn serves the service. To change it, copy this file below /etc/keystone and say in
# /etc/sysconfig/openstack-keystone: GUNICORN_CMD_ARGS=--config=/etc/keystone/gunicorn.conf.py

bind = ["0.0.0.0:5000"]
workers = 3
worker_class = "gthread"
threads = 4
timeout = 60
graceful_timeout = 30
proc_name = "keystone"
worker_tmp_dir = "/dev/shm"
wsgi_app = "keystone.wsgi.api:application"
