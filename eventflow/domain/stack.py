"""Stack traces of Python, Java, JavaScript, .NET and Go as frames, innermost first, each marked own or library.

Pure; never raises: text it cannot read gives no frames.
"""

import re
from dataclasses import dataclass

PYTHON = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
JAVA = re.compile(
    r"^\s*at (?:[\w.@-]*/)*(?P<name>[\w.$<>]+)\((?P<file>[\w.$]+|Native Method|Unknown Source)(?::(?P<line>\d+))?\)"
)
DOTNET = re.compile(r"^\s*at (?P<name>[\w.`+<>\[\]|,]+)\([^)]*\)(?: in (?P<file>.+):line (?P<line>\d+))?\s*$")
NODE = re.compile(r"^\s*at (?:(?:async |new )?(?P<name>[^()]+?) \()?(?P<file>[^\s()]+):(?P<line>\d+):\d+\)?\s*$")
GO_CALL = re.compile(r"^(?P<name>[\w./*()\-{}]+)\(.*\)$")
GO_PLACE = re.compile(r"^\t(?P<file>.+\.go):(?P<line>\d+)")
ORDER = (PYTHON, NODE, JAVA, DOTNET)
"""NODE stands before JAVA: only it has a column, and only JAVA has a bare file name without one."""

LIBRARY_PLACES = re.compile(
    r"site-packages|dist-packages|/lib(?:64)?/python\d|<frozen |node_modules|^node:|^internal/|/pkg/mod/|/vendor/|"
    r"/usr/(?:local/)?(?:lib/)?go(?:-[\d.]+)?/src/|/gems/"
)
LIBRARY_NAMES = re.compile(
    r"^(?:java|javax|jakarta|jdk|sun|com\.sun|kotlin|kotlinx|scala|groovy|org\.springframework|org\.apache|org\.hibernate|"
    r"org\.jboss|org\.eclipse|org\.junit|io\.netty|io\.quarkus|io\.smallrye|io\.vertx|io\.micronaut|io\.nats|"
    r"io\.opentelemetry|io\.micrometer|reactor|com\.fasterxml|com\.rabbitmq|com\.zaxxer|net\.bytebuddy|ch\.qos|akka|"
    r"System|Microsoft|NServiceBus|MassTransit|Wolverine|Rebus|Newtonsoft|Confluent|RabbitMQ|NATS|Azure|Polly|"
    r"runtime|net/http|reflect|syscall)[./]"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """One call: where it stands, and whether it is the application's own code."""

    text: str
    file: str
    line: int | None
    name: str
    own: bool


def _frame(match: re.Match[str]) -> Frame:
    found = match.groupdict()
    file, name = found.get("file") or "", (found.get("name") or "").strip()
    line = int(found["line"]) if found.get("line") else None
    place = f"{file}:{line}" if file and line else file
    text = f"{place} in {name}" if place and name else place or name
    own = not (LIBRARY_PLACES.search(file) or LIBRARY_NAMES.match(name))
    return Frame(text, file, line, name, own)


def _python_order(stack: str) -> bool:
    return "most recent call last" in stack or any(PYTHON.match(line) for line in stack.splitlines())


def frames(stack: str) -> tuple[Frame, ...]:
    """The frames of the innermost cause, the one that raised first."""
    lines = cause_block(stack).splitlines()
    found: list[Frame] = []
    call = ""
    for line in lines:
        if place := GO_PLACE.match(line):
            own = not (LIBRARY_PLACES.search(place["file"]) or LIBRARY_NAMES.match(call))
            text = f"{place['file']}:{place['line']}" + (f" in {call}" if call else "")
            found.append(Frame(text, place["file"], int(place["line"]), call, own))
            call = ""
            continue
        match = next((match for pattern in ORDER if (match := pattern.match(line))), None)
        if match:
            found.append(_frame(match))
        elif go := GO_CALL.match(line):
            call = go["name"]
    return tuple(reversed(found)) if _python_order(stack) else tuple(found)


def cause_block(stack: str) -> str:
    """The part of a chained trace that belongs to the root cause."""
    if "The above exception was the direct cause of" in stack:
        return stack.split("The above exception was the direct cause of", maxsplit=1)[0]
    if "\nCaused by: " in stack:
        return stack.rsplit("\nCaused by: ", 1)[1]
    if " ---> " in stack and "--- End of inner exception" in stack:
        return stack.rsplit(" ---> ", 1)[1].split("--- End of inner exception", maxsplit=1)[0]
    return stack


def cause_line(stack: str) -> tuple[str, str] | None:
    """Type and message of the root cause, where the trace is chained; None where it is not."""
    block = cause_block(stack)
    if block == stack:
        return None
    lines = [line for line in block.strip().splitlines() if line.strip()]
    if not lines:
        return None
    line = lines[-1] if _python_order(block) else lines[0]
    kind, _, message = line.strip().partition(": ")
    return (kind, message.strip()) if re.fullmatch(r"[\w.$`+]+", kind) else None


def first_own(stack: str) -> Frame | None:
    """The innermost frame of the application's own code."""
    return next((frame for frame in frames(stack) if frame.own), None)
