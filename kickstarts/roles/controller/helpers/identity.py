"""Make users, services and endpoints in Keystone what standard input says; again changes nothing.

Lines of words:  user NAME PASSWORD  |  domain NAME USER PASSWORD
                 endpoint TYPE NAME PUBLIC-URL INTERNAL-URL
Passwords come by standard input and the environment, never as arguments, which all can see.
Runs on Python 3.9, with nothing but its own library.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

SERVICE_PROJECT = "service"

log = logging.getLogger("identity")


class Keystone:
    """The few calls that are needed, as an administrator."""

    def __init__(self, url: str, region: str, password: str) -> None:
        self.url = url
        self.region = region
        token = sign_in(url, "admin", "Default", password, project="admin")
        if token is None:
            sys.exit(f"{url} does not take the password of admin")
        self._token = token

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One request; its answer. Raises HTTPError."""
        return request(self.url, method, path, body, self._token)[0]

    def ensure(
        self, kind: str, known_by: Mapping[str, str], more: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """The one object that is known by these properties, made if it is not there."""
        found = self.call("GET", f"/{kind}s?{urlencode(known_by)}")[f"{kind}s"]
        if found:
            return dict(found[0])
        log.info("%s %s is made", kind, " ".join(known_by.values()))
        made = self.call("POST", f"/{kind}s", {kind: {**known_by, **(more or {})}})
        return dict(made[kind])


def request(
    url: str, method: str, path: str, body: object, token: str | None
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Body and headers of an answer. Raises HTTPError."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["X-Auth-Token"] = token
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url + path, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        text = answer.read()
        return (json.loads(text) if text else {}), answer.headers


def sign_in(
    url: str, name: str, domain: str, password: str, project: str | None = None
) -> str | None:
    """A token, or None where the password is another."""
    user = {"name": name, "domain": {"name": domain}, "password": password}
    auth: dict[str, object] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if project is not None:
        auth["scope"] = {"project": {"name": project, "domain": {"name": "Default"}}}
    try:
        _, headers = request(url, "POST", "/auth/tokens", {"auth": auth}, None)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.UNAUTHORIZED:
            return None
        raise
    return headers["X-Subject-Token"]


def ensure_user(
    keystone: Keystone, name: str, password: str, domain: str, domain_id: str
) -> dict[str, Any]:
    """A user with this password."""
    known_by = {"name": name, "domain_id": domain_id}
    user = keystone.ensure("user", known_by, {"password": password, "enabled": True})
    if sign_in(keystone.url, name, domain, password) is None:
        log.info("user %s gets its password", name)
        keystone.call("PATCH", f"/users/{user['id']}", {"user": {"password": password}})
    return user


def service_user(keystone: Keystone, name: str, password: str) -> None:
    """A service's user: admin and service in the project of the services."""
    project = keystone.ensure("project", {"name": SERVICE_PROJECT, "domain_id": "default"})
    user = ensure_user(keystone, name, password, "Default", "default")
    for role in ("admin", "service"):
        role_id = keystone.ensure("role", {"name": role})["id"]
        keystone.call("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{role_id}")


def domain_admin(keystone: Keystone, name: str, user_name: str, password: str) -> None:
    """A domain of its own, with one who may do everything in it."""
    domain = keystone.ensure("domain", {"name": name})
    user = ensure_user(keystone, user_name, password, name, domain["id"])
    role_id = keystone.ensure("role", {"name": "admin"})["id"]
    keystone.call("PUT", f"/domains/{domain['id']}/users/{user['id']}/roles/{role_id}")


def endpoint(keystone: Keystone, kind: str, name: str, public: str, internal: str) -> None:
    """A service in the catalog, under one URL for everybody and one for hosts of the cloud."""
    service = keystone.ensure("service", {"type": kind, "name": name})
    for interface, url in (("public", public), ("internal", internal), ("admin", internal)):
        known_by = {
            "service_id": service["id"],
            "interface": interface,
            "region_id": keystone.region,
        }
        found = keystone.ensure("endpoint", known_by, {"url": url})
        if found["url"] != url:
            log.info("endpoint %s %s moves to %s", name, interface, url)
            keystone.call("PATCH", f"/endpoints/{found['id']}", {"endpoint": {"url": url}})


VERBS: Mapping[str, Callable[..., None]] = {
    "user": service_user,
    "domain": domain_admin,
    "endpoint": endpoint,
}


def main() -> None:
    """Each line of standard input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    url = os.environ["OS_AUTH_URL"]
    doing = "sign in"
    try:
        keystone = Keystone(url, os.environ["REGION"], os.environ["OS_PASSWORD"])
        for line in sys.stdin:
            verb, *words = line.split()
            doing = f"{verb} {words[0]}"  # not the line: it may hold a password
            VERBS[verb](keystone, *words)
    except urllib.error.HTTPError as error:
        sys.exit(f"{doing}: {error.code} {error.read().decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"{doing}: {url} cannot be asked: {error}")


if __name__ == "__main__":
    main()
