"""Compiles the scanner and the reader of JSON in place: `python -P collectors/otlp/scan/build.py [--must]`.

Without a C compiler or Python's headers it says so in one line and all goes on in plain Python, which is some ten times
slower; with `--must` that is a failure. Downloads nothing.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODULES = ("_wire", "_json")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def compile_it() -> None:
    """Do it, in this process and loudly."""
    from Cython.Build import cythonize  # noqa: PLC0415  # needed only here, and not installed everywhere
    from setuptools import Distribution, Extension  # noqa: PLC0415

    os.chdir(ROOT)
    extensions = [
        Extension(
            f"collectors.otlp.scan.{module}",
            [str((HERE / f"{module}.pyx").relative_to(ROOT))],
            include_dirs=[str(HERE)],
            extra_compile_args=["-O3"],
        )
        for module in MODULES
    ]
    with tempfile.TemporaryDirectory(prefix="eventflow-build-") as folder:
        made = cythonize(extensions, build_dir=folder, quiet=True, force=True)  # type: ignore[no-untyped-call]
        command = Distribution({"name": "scan", "ext_modules": made}).get_command_obj("build_ext")
        command.build_temp = command.build_lib = folder
        command.ensure_finalized()
        command.run()
        for module, extension in zip(MODULES, made, strict=True):
            # Put in its place at once: another process may be importing it.
            fresh = HERE / f"{module}.{os.getpid()}"
            fresh.write_bytes(Path(command.get_ext_fullpath(extension.name)).read_bytes())
            fresh.replace(HERE / f"{module}{SUFFIX}")


def fresh() -> bool:
    """Whether what is there is newer than all that it is made of."""
    built = [HERE / f"{module}{SUFFIX}" for module in MODULES]
    sources = [*HERE.glob("*.pyx"), *HERE.glob("*.h")]
    if not all(one.exists() for one in built):
        return False
    return min(one.stat().st_mtime for one in built) >= max(one.stat().st_mtime for one in sources)


def main(arguments: list[str]) -> int:
    """Build unless what is there is newer than its source."""
    if "--now" in arguments:
        compile_it()
        return 0
    if os.environ.get("EVENTFLOW_NATIVE") == "0":
        return 0
    if fresh():
        return 0
    command = [sys.executable, "-P", __file__, "--now"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603  # our own words
    if done.returncode == 0:
        return 0
    reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["the build failed"]
    print(f"The fast span scanner was not built ({reason[0][:200]}); Eventflow goes on without.", file=sys.stderr)
    return int("--must" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
