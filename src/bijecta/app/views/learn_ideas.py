"""The first four ideas of the Learn page: change of variables, couplings, invertibility, no tearing."""

import numpy as np
import streamlit as st

from bijecta.app.charts import show_chart
from bijecta.app.learning.couplings import Look, look, round_trip_errors, wave_couplings
from bijecta.app.learning.figures import line_figure, plane_figure
from bijecta.app.learning.folding import fixed_point_errors, fold, preimages
from bijecta.app.learning.tearing import build_bridge
from bijecta.app.learning.warping import warp_view
from bijecta.app.views.learn_exercises import show_exercises


def change_of_variables() -> None:
    """Show how a map carries a density."""
    st.markdown(
        "A flow is an invertible map f from data x to latents z, whose density is simple. Probability is neither made "
        "nor lost: what lies in a small interval of x lies in its image. Where the map stretches, the data are dense."
    )
    st.latex(r"\begin{gathered} p(x)\,dx = p_z(z)\,dz \\ p(x) = p_z(f(x)) \cdot f'(x) \end{gathered}")
    warp_view()
    st.markdown(
        "**Try:** find the two places where p(x) is highest. Is the map steep there, or the base high? Then make the "
        "map nearly flat somewhere: what happens to the data there?"
    )
    show_exercises("straight", "logarithm")


def couplings() -> None:
    """Show the Jacobian of coupling layers."""
    st.markdown(
        "In two dimensions f'(x) becomes the determinant of the Jacobian matrix J. A coupling keeps one number and "
        "moves the other by an amount that the kept one decides: J is triangular, and only its diagonal counts."
    )
    st.latex(
        r"\begin{gathered} z_1 = x_1, \quad z_2 = x_2\, e^{s(x_1)} + t(x_1) \\[1ex] "
        r"J = \begin{pmatrix} 1 & 0 \\ \ast & e^{s(x_1)} \end{pmatrix}, \quad \log|\det J| = s(x_1) \end{gathered}"
    )
    left, right = st.columns(2)
    layers = left.slider("layers, which take turns", 1, 4, 1, key="learn.layers")
    strength = right.slider("strength of the scale; 0 is NICE", 0.0, 1.5, 0.8, 0.1, key="learn.strength")
    first = left.slider("x₁", -3.0, 3.0, 0.5, 0.1, key="learn.x1")
    second = right.slider("x₂", -3.0, 3.0, -1.0, 0.1, key="learn.x2")
    flow = wave_couplings(layers, strength)
    seen = look(flow, first, second)
    left, right = st.columns(2)
    with left:
        show_chart(plane_figure(None, (first, second)), key="learn.before")
    with right:
        show_chart(plane_figure(flow, (first, second)), key="learn.after")
    _numbers(seen)
    st.markdown(
        "**Try:** with one layer, why does x₂ change nothing? Then set the strength to 0: the orange patch bends, but "
        "keeps its area."
    )
    show_exercises("triangle", "units")


def _numbers(seen: Look) -> None:
    rows = r" \\ ".join(" & ".join(f"{value:.4f}" for value in row) for row in seen.jacobian)
    terms = " + ".join(f"({value:.4f})" if value < 0 else f"{value:.4f}" for value in seen.ladjs)
    left, right = st.columns(2)
    left.latex(rf"J = \begin{{pmatrix}} {rows} \end{{pmatrix}}")
    left.caption("By automatic differentiation. Its log |det|, by NumPy's slogdet, and the sum of what the layers say:")
    right.latex(rf"\log|\det J| = {seen.by_numpy:.4f}")
    right.latex(rf"\textstyle\sum \text{{ladj}} = {terms} = {sum(seen.ladjs):.4f}")


def invertibility() -> None:
    """Show what keeps an inverse, and what takes it."""
    st.markdown(
        "A density needs every z to come from exactly one x. A coupling has its inverse by construction. A residual "
        "layer, x plus something, has one only while that something changes more slowly than x itself."
    )
    st.latex(
        r"\begin{gathered} z = x - c \sin x \\ "
        r"\frac{dz}{dx} = 1 - c \cos x > 0 \text{ everywhere} \\ \text{if and only if } c < 1 \end{gathered}"
    )
    left, right = st.columns(2)
    c = left.slider("c, the Lipschitz constant of what is added", 0.0, 2.0, 0.7, 0.05, key="learn.c")
    z = right.slider("z", -4.0, 4.0, 0.3, 0.1, key="learn.z")
    found = preimages(z, c)
    left, right = st.columns(2)
    x = np.linspace(-6.0, 6.0, 400)
    with left:
        lines = {"z = x − c sin x": (x, fold(x, c)), f"z = {z:g}": (x, np.full_like(x, z))}
        show_chart(line_figure(lines, ("x", "z")), key="learn.fold")
    with right:
        errors = np.maximum(fixed_point_errors(z, c), 1e-16)
        steps = {"distance from z after each step x ← z + c sin x": (np.arange(1.0, len(errors) + 1), errors)}
        show_chart(line_figure(steps, ("step", "distance"), log=True), key="learn.steps")
    where = ", ".join(f"{value:.3f}" for value in found)
    verdict = "It has an inverse." if c < 1 else "It stands still at 0." if c == 1 else "It folds: no flow."
    st.markdown(f"z = {z:g} comes from **{len(found)}** x: {where}. {verdict}")
    _round_trip()
    show_exercises("folds")


def _round_trip() -> None:
    st.markdown("Rounding breaks it too. Couplings that scale by much lose digits on the way there and back:")
    left, right = st.columns(2)
    layers = left.select_slider("couplings", (1, 2, 4, 8, 16), 4, key="learn.trip.layers")
    strength = right.slider("largest log-scale of each", 0.0, 3.0, 1.0, 0.25, key="learn.trip.strength")
    single, double = round_trip_errors(layers, strength)
    left.metric("worst round trip of 2,000 points, float32", f"{single:.1e}")
    right.metric("the same in float64", f"{double:.1e}")


def tearing() -> None:
    """Show the bridge that a limited stretch leaves."""
    st.markdown(
        "A flow is continuous both ways, so it cannot tear a connected base apart. Between two modes always remains a "
        "bridge; to make it thin, the map from z to x must stretch there very much. A network's stretch L is limited, "
        "and so the bridge has a least weight, whatever the training. Below is the best map for each limit."
    )
    st.latex(r"P(\text{gap of width } w) \;\ge\; 2\,\Phi\!\left(\frac{w}{2L}\right) - 1")
    left, right = st.columns(2)
    distance = left.slider("distance of the modes", 3.0, 8.0, 6.0, 0.5, key="learn.distance")
    limit = right.select_slider("largest stretch L", (2, 5, 10, 20, 50, 100, 1000), 5, key="learn.limit")
    bridge = build_bridge(distance, float(limit))
    left, right = st.columns(2)
    with left:
        lines = {"the flow": (bridge.x, bridge.density), "two modes": (bridge.x, bridge.truth)}
        show_chart(line_figure(lines, ("x", "density")), key="learn.bridge")
    with right:
        show_chart(line_figure({"x = g(z)": (bridge.z, bridge.x)}, ("z", "x")), key="learn.stretch")
    columns = st.columns(4)
    columns[0].metric("the flow puts between", f"{bridge.inside:.2%}")
    columns[1].metric("no such flow below", f"{bridge.bound:.2%}")
    columns[2].metric("the two modes have", f"{bridge.truth_inside:.2%}")
    needed = f"{bridge.needed:,.0f}" if bridge.needed < 1e6 else f"{bridge.needed:.0e}"
    columns[3].metric("stretch that is needed", needed)
    st.markdown(
        "**Try:** how fast does the needed stretch grow with the distance? The cure is a base that comes in pieces: "
        "see *Topology* under *What breaks*."
    )
    show_exercises("bridge")
