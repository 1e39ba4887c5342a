"""Float32 round trips of the coupling and autoregressive families at trained weights, and a million samples each.

    python benchmarks/round_trip.py

Each is trained briefly on the pinwheel; then 10^6 samples are drawn and mapped to latent and back.
The error is relative to the spread of the data.
"""

import torch

from bijecta.data import toy
from bijecta.flows import build
from bijecta.training import FitConfig, fit
from machine import keep, print_table

SAMPLES = 1_000_000
FAMILIES = ("nice", "realnvp", "glow", "nsf", "nsf_autoregressive", "made", "maf", "iaf")


@torch.no_grad()
def round_trip(name: str, arguments: dict[str, object]) -> dict[str, object]:
    """Train one recipe and measure."""
    torch.manual_seed(0)
    flow = build(name, {"features": 2, **arguments})
    x = torch.as_tensor(toy("pinwheel").sample(20_000, 1)).float()
    with torch.enable_grad():
        fit(flow, x, config=FitConfig(epochs=10, batch_size=500, patience=0))
    scale, errors, bad = x.std(0), [], 0
    for part in range(SAMPLES // 50_000):
        samples = flow.sample(50_000, generator=torch.Generator().manual_seed(part))
        bad += int((~samples.isfinite()).sum()) + int((~flow.log_prob(samples).isfinite()).sum())
        back = flow.to_data(flow.to_latent(samples))
        errors.append(((back - samples).abs() / scale).amax(-1))
    error = torch.cat(errors).sort().values
    return {
        "family": " ".join([name, *map(str, arguments.values())]),
        "median": error[SAMPLES // 2].item(),
        "99.9 %": error[int(0.999 * SAMPLES)].item(),
        "max": error[-1].item(),
        "not finite": bad,
    }


if __name__ == "__main__":
    cases: list[tuple[str, dict[str, object]]] = [(name, {}) for name in FAMILIES]
    cases += [("nsf", {"spline": spline}) for spline in ("linear", "quadratic", "cubic")]
    rows = [round_trip(name, arguments) for name, arguments in cases]
    print_table(rows)
    keep("round_trip", rows)
