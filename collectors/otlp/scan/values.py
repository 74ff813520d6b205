"""What somebody typed as OTLP's values: a search does not know whether a sender wrote 17 as a number or as text.

Pure.
"""

import math
import re

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})", re.ASCII)
_FRACTION = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_LONGEST_NUMBER = 40


def readings(text: str) -> list[AnyValue]:
    """Every value that reads like this, the text itself first."""
    found = [AnyValue(string_value=text)]
    if text.lower() in {"true", "false"}:
        found.append(AnyValue(bool_value=text.lower() == "true"))
    if len(text) <= _LONGEST_NUMBER and _FRACTION.fullmatch(text):
        if _WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**63:
            found.append(AnyValue(int_value=int(text)))
        number = float(text)
        if math.isfinite(number):
            found.append(AnyValue(double_value=number))
    return found
