"""How each installer is started: its kernel, and the words by which it finds its answer."""

from collections.abc import Callable, Mapping

from provision.inventory import views
from provision.inventory.model import Host, Install, System
from pxe.boot import Kernel, Multiboot

QUIET = "quiet"
"""The kernel prints its command line, tokens and all, on every console; not with this word."""
INSTALLER_WORDS: Mapping[Install, Callable[[str], tuple[str, ...]]] = {
    Install.KICKSTART: lambda url: (f"inst.ks={url}", "ip=dhcp"),
    Install.PRESEED: lambda url: ("auto=true", "priority=critical", "interface=auto", f"url={url}"),
    # Not ds=nocloud;s=URL: that fetches several files below its URL, ours opens once; and GRUB
    # would end the command at the semicolon.
    Install.AUTOINSTALL: lambda url: ("autoinstall", "ip=dhcp", f"cloud-config-url={url}"),
    Install.ANSWERFILE: lambda url: ("install", f"answerfile_generator={url}"),
}
"""How each installer is told where its answer is."""


HYPERVISOR_WORDS = (
    "dom0_max_vcpus=1-16", "dom0_mem=max:8192M", "com1=115200,8n1", "console=com1,vga",
)  # fmt: skip
"""As XCP-ng's own media start theirs."""
GUEST_CONSOLES = ("console=hvc0", "console=tty0")
"""Where the first guest of a hypervisor writes: the hypervisor's console is hvc0."""


SECOND_STAGE: Mapping[Install, tuple[str, ...]] = {
    Install.KICKSTART: ("inst.stage2=", "inst.repo="),
    Install.AUTOINSTALL: ("url=", "iso-url=", "netboot="),
}
"""How arguments begin that say where the rest of an installer is: its initrd is a part of it."""


def has_rest(install: Install, system: System) -> bool:
    """Whether an installer is led by arguments from its initrd to the rest of itself."""
    known = SECOND_STAGE.get(install)
    return known is None or any(word.startswith(known) for word in system.arguments)


def installer(host: Host, system: System, answer: str) -> Kernel | Multiboot:
    """The installer of an operating system, told where its answer is."""
    kernel = views.artifact_name(system.kernel)
    initrds = tuple(views.artifact_name(path) for path in system.initrds)
    title = f"installing {host.name} ({system.name})"
    quiet = () if QUIET in system.arguments else (QUIET,)
    # Anaconda's rest lies in its tree; asked for at once it need not read the kickstart for it.
    alone = host.role.install is Install.KICKSTART and not has_rest(host.role.install, system)
    rest = (f"inst.stage2={system.tree}",) if alone and system.tree is not None else ()
    words = (*quiet, *system.arguments, *rest, *INSTALLER_WORDS[host.role.install](answer))
    if system.hypervisor is None:
        # The port that booted, for installers on machines with many (pxelinux, IPAPPEND 2).
        arguments = (*words, f"BOOTIF=01-{host.mac.dashed}")
        return Kernel(kernel, initrds, arguments, title)
    return Multiboot(
        hypervisor=views.artifact_name(system.hypervisor),
        hypervisor_arguments=system.hypervisor_arguments or HYPERVISOR_WORDS,
        kernel=kernel,
        initrds=initrds,
        # Likewise; an installer that does not know the word asks on every port.
        arguments=(*(() if system.arguments else GUEST_CONSOLES), *words,
                   f"network_device={host.mac}"),
        title=title,
    )  # fmt: skip
