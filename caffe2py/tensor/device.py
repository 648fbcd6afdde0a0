"""Where an operator runs, as a value: DeviceOption read, compared and printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from caffe2py.errors import DeviceError
from caffe2py.proto.caffe2_pb2 import DeviceOption, DeviceTypeProto

_NAMES = {"cpu": "PROTO_CPU", "cuda": "PROTO_CUDA", "gpu": "PROTO_CUDA"}


@dataclass(frozen=True)
class Device:
    """A kind of device and its number: `Device("cuda", 1)`; the CPU has the number 0."""

    kind: str = "cpu"
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read "cpu", "cuda" or "cuda:1"; DeviceError for anything else."""
        match = re.fullmatch(r"([a-z]+)(?::(\d+))?", text.strip().lower())
        if not match or match[1] not in _NAMES:
            raise DeviceError(f"{text!r} is not a device; expected 'cpu', 'cuda' or 'cuda:N'")
        kind = "cuda" if match[1] == "gpu" else match[1]
        return cls(kind, 0 if kind == "cpu" else int(match[2] or 0))

    @classmethod
    def from_option(cls, option: DeviceOption) -> Device:
        """The device that a DeviceOption names; DeviceError for a type outside the enum."""
        try:
            kind = DeviceTypeProto.Name(option.device_type)
        except ValueError:
            raise DeviceError(f"device_type {option.device_type} is unknown") from None
        name = kind.removeprefix("PROTO_").lower()
        return cls(name, 0 if name == "cpu" else max(option.device_id, 0))

    def to_option(self) -> DeviceOption:
        """The DeviceOption that names this device."""
        option = DeviceOption(device_type=DeviceTypeProto.Value(f"PROTO_{self.kind.upper()}"))
        if self.index:
            option.device_id = self.index
        return option

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


CPU = Device()
