"""Backward passes of random graphs and of the project's own nets, from the oracle."""

import os
import tempfile
from pathlib import Path

import numpy as np

from caffe2py.proto.files import read_net
from tools.golden.oracle import start, write_packed

NETS = Path(__file__).parents[2] / "nets"
GRAPHS = 450


def generate_graphs(oracle: str, target: Path) -> None:
    """Writes graphs.npz."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for path in sorted(NETS.glob("*/predict_net.pbtxt")):
            files.append(folder / f"{path.parent.name}.pb")
            files[-1].write_bytes(read_net(path).SerializeToString())
        arguments = [str(folder), str(GRAPHS), *map(str, files)]
        start(oracle, "graphs_worker.py", folder, dict(os.environ), *arguments)
        with np.load(folder / "answers.npz", allow_pickle=False) as answers:
            write_packed(target / "graphs.npz", dict(answers))
