"""Compiles the native modules in place: `python -P collectors/otlp/scan/build.py [--must]`.

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
SOURCES = (HERE / "_wire.pyx", ROOT / "eventflow" / "store" / "spans" / "_arrays.pyx")


def built(source: Path) -> Path:
    """The compiled module of a source: beside it."""
    return source.with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))


def compile_it(source: Path) -> None:
    """Do it, in this process and loudly."""
    from Cython.Build import cythonize  # noqa: PLC0415  # needed only here, and not installed everywhere
    from setuptools import Distribution, Extension  # noqa: PLC0415

    os.chdir(ROOT)
    name = ".".join(source.relative_to(ROOT).with_suffix("").parts)
    with tempfile.TemporaryDirectory(prefix="eventflow-build-") as folder:
        extension = Extension(name, [str(source.relative_to(ROOT))], extra_compile_args=["-O3"])
        made = cythonize([extension], build_dir=folder, quiet=True, force=True)  # type: ignore[no-untyped-call]
        command = Distribution({"name": name, "ext_modules": made}).get_command_obj("build_ext")
        command.build_temp = command.build_lib = folder
        command.ensure_finalized()
        command.run()
        # Put in its place at once: another process may be importing it.
        fresh = built(source).with_suffix(f".{os.getpid()}")
        fresh.write_bytes(Path(command.get_ext_fullpath(name)).read_bytes())
        fresh.replace(built(source))


def main(arguments: list[str]) -> int:
    """Build what is not there or older than its source."""
    if "--now" in arguments:
        for source in map(Path, arguments[arguments.index("--now") + 1 :]):
            compile_it(source)
        return 0
    if os.environ.get("EVENTFLOW_NATIVE") == "0":
        return 0
    old = [
        str(source)
        for source in SOURCES
        if not built(source).exists() or built(source).stat().st_mtime < source.stat().st_mtime
    ]
    if not old:
        return 0
    command = [sys.executable, "-P", __file__, "--now", *old]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603  # our own words
    if done.returncode == 0:
        return 0
    reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["the build failed"]
    print(f"The fast span engine was not built ({reason[0][:200]}); Eventflow goes on without.", file=sys.stderr)
    return int("--must" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
