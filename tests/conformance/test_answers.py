"""Preseed files in the hands of debconf, and what installers without curl report."""

import asyncio
import subprocess
from dataclasses import replace

import pytest
from aiohttp import web

from kickstarts import preseed, xcpng
from kickstarts.plan import Packages
from kickstarts.questions import commands
from kickstarts.values import Secret
from pxe.http.report import decode_report
from pxe.site import Report, ReportKind
from tests.tools import require_tool
from tests.unit.kickstarts.plans_deb import HASH, TOKEN, full, plain


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


async def test_a_report_by_busybox_arrives(tmp_path):
    busybox = require_tool("busybox", package="busybox-static")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nc", "wc", "sleep", "cat"):
        (programs / name).symlink_to(busybox)

    def script(url):
        text = preseed.render(replace(plain("debian-12"), report_url=url))
        (programs / "debconf-get").write_text(f"#!/bin/sh\necho /report/{TOKEN}\n")
        (programs / "debconf-get").chmod(0o755)
        script = commands(text)["preseed/early_command"].partition("( ")[0]
        return script.replace("/tmp/rackseed-report", str(tmp_path / "report"))

    assert await told([busybox, "sh", "-c"], script, str(programs)) == Report(
        ReportKind.PROGRESS, "the installer runs", {}
    )


async def test_a_report_by_bash_arrives():
    bash = require_tool("bash")

    def script(url):
        packages, password = Packages(tree="http://mirror.example.org/"), Secret(HASH)
        plan = replace(plain("xcp-ng-8.3"), packages=packages, root_password=password)
        text = xcpng.render(replace(plan, report_url=url))
        return text.partition("\n# The disk")[0]

    assert await told([bash, "-c"], script, "/usr/bin:/bin") == Report(
        ReportKind.PROGRESS, "the installer runs, looking for the disk", {}
    )


async def told(shell, script, path):
    """What a script tells a server that reads reports as ours does."""
    reports = []

    async def take(request):
        assert (request.path, request.remote) == (f"/report/{TOKEN}", "127.0.0.1")
        reports.append(decode_report(await request.read()))
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/report/{token}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = Secret(f"http://127.0.0.1:{runner.addresses[0][1]}/report/{TOKEN}")
        process = await asyncio.create_subprocess_exec(*shell, script(url), env={"PATH": path})
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        await runner.cleanup()
    (report,) = reports
    return report
