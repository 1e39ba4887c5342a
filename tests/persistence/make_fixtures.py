"""Write the model files that later versions must still read: `python tests/persistence/make_fixtures.py v2`."""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from test_files import FIXTURES, RECIPES, inputs, made

from bijecta.persistence import save

if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    for name in RECIPES:
        path = FIXTURES / f"{sys.argv[1]}-{name}.safetensors"
        if path.exists():
            continue  # a fixture is never rewritten: it stands for files that users have
        flow, (x, context) = made(name).eval(), inputs(name)
        save(flow, path)
        torch.manual_seed(0)
        log_prob = flow.log_prob(x, context).tolist()
        record = {"x": x.tolist(), "context": None if context is None else context.tolist(), "log_prob": log_prob}
        path.with_suffix(".json").write_text(json.dumps(record))
