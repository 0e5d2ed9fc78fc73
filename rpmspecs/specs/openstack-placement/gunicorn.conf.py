# How gunicorn serves the service. To change it, copy this file below /etc/placement and say in
# /etc/sysconfig/openstack-placement-api: GUNICORN_CMD_ARGS=--config=/etc/placement/gunicorn.conf.py

bind = ["0.0.0.0:8778"]
workers = 3
worker_class = "gthread"
threads = 4
timeout = 60
graceful_timeout = 30
proc_name = "placement"
worker_tmp_dir = "/dev/shm"
wsgi_app = "placement.wsgi.api:application"
