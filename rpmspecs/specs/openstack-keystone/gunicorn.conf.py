# How gunicorn serves Keystone. To change it, copy this file below /etc/keystone and name the copy
# in a drop-in of openstack-keystone.service.
bind = ["[::]:5000"]
workers = 3
worker_class = "gthread"
threads = 4
timeout = 60
graceful_timeout = 30
proc_name = "keystone"
worker_tmp_dir = "/dev/shm"
wsgi_app = "keystone.wsgi.api:application"
