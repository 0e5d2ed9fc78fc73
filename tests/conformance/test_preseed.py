"""Preseed files in the hands of debconf, and their reports in those of our server."""

import asyncio
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from aiohttp import web

from kickstarts import preseed
from kickstarts.questions import commands
from kickstarts.values import Secret
from pxe.http.report import decode_report
from pxe.site import Report, ReportKind
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import TOKEN, full, plain


@pytest.mark.parametrize("system", preseed.SYSTEMS)
@pytest.mark.parametrize("make", [plain, full])
def test_debconf_reads_every_line(system, make, tmp_path):
    tool = require_tool("debconf-set-selections", package="debconf")
    file = tmp_path / "preseed.cfg"
    file.write_text(preseed.render(make(system)))
    argv = [tool, "--checkonly", file]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # It ends with 0 where it warns.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_debconf_tells_of_a_line_that_is_none(tmp_path):
    tool = require_tool("debconf-set-selections", package="debconf")
    file = tmp_path / "preseed.cfg"
    file.write_text("d-i time/zone\n")
    argv = [tool, "--checkonly", file]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "parse error on line 1" in done.stderr


async def test_a_report_without_a_web_client_arrives(tmp_path):
    busybox = require_tool("busybox", package="busybox-static")
    reports = []

    async def take(request):
        reports.append((request.path, request.remote, decode_report(await request.read())))
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/report/{token}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        url = Secret(f"http://127.0.0.1:{port}/report/{TOKEN}")
        text = preseed.render(replace(plain("debian-12"), report_url=url))
        script = commands(text)["preseed/early_command"].partition("( ")[0]
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("nc", "wc", "sleep"):
            (programs / name).symlink_to(busybox)
        process = await asyncio.create_subprocess_exec(
            busybox, "sh", "-c", script, env={"PATH": str(programs)}
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        await runner.cleanup()
    told = Report(ReportKind.PROGRESS, "the installer runs", {})
    assert reports == [(f"/report/{TOKEN}", str(IPv4Address("127.0.0.1")), told)]
