"""What the package decides, before the operator's own words in /etc/openstack-dashboard."""

import socket
from pathlib import Path

from horizon.utils import secret_key

DEBUG = False
# The style sheets and scripts of the package are made for this place.
WEBROOT = "/dashboard/"
STATIC_ROOT = "/usr/share/openstack-dashboard/static"
COMPRESS_OFFLINE = True
# Made at the first start, for this host alone; several hosts of one dashboard need the same.
SECRET_KEY = secret_key.generate_or_read_from_file("/var/lib/horizon/secret_key")

ALLOWED_HOSTS = [socket.gethostname(), socket.getfqdn(), "localhost", "127.0.0.1", "[::1]"]
OPENSTACK_HOST = "127.0.0.1"
OPENSTACK_KEYSTONE_URL = f"http://{OPENSTACK_HOST}:5000/v3"
TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {
        "file": {
            "class": "logging.handlers.WatchedFileHandler",
            "filename": "/var/log/horizon/horizon.log",
            "formatter": "line",
        }
    },
    "root": {"handlers": ["file"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "urllib3": {"level": "WARNING"},
    },
}

_operator = Path("/etc/openstack-dashboard/local_settings")
if _operator.exists():
    exec(compile(_operator.read_text("utf-8"), _operator, "exec"))
