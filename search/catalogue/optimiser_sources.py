"""Optimisers that edits bring into the recipe, as source."""

MUON = '''
class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by five Newton-Schulz steps; matrices of one shape go together."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        """Take over matrices."""
        super().__init__(parameters, {"lr": lr, "momentum": 0.95, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every matrix."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault((min(p.shape), max(p.shape)), []).append(p)
            for alike in by_shape.values():
                self.step_alike(alike, group["lr"], group["momentum"], group["weight_decay"])

    def step_alike(self, alike: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        """Move matrices that have one shape, or its transpose."""
        gradients = [p.grad for p in alike]
        for p in alike:
            if "average" not in self.state[p]:
                self.state[p]["average"] = torch.zeros_like(p)
        averages = [self.state[p]["average"] for p in alike]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        wide = [u if u.shape[0] <= u.shape[1] else u.T for u in torch._foreach_lerp(gradients, averages, momentum)]
        updates = orthogonalise(torch.stack(wide)).to(alike[0].dtype)
        torch._foreach_mul_(alike, 1 - lr * weight_decay)
        for p, u in zip(alike, updates, strict=True):
            p.add_(u if p.shape[0] <= p.shape[1] else u.T, alpha=-lr * max(1.0, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonalise(x: Tensor) -> Tensor:
    """Bring all singular values of matrices (n, rows <= columns) near 1."""
    x = x.bfloat16() if x.is_cuda else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x
'''

LION = '''
class Lion(torch.optim.Optimizer):
    """The sign of an interpolated momentum."""

    def __init__(self, groups: list[dict[str, object]], betas: tuple[float, float]) -> None:
        """Signs are larger than Adam's steps: a third of the rate, three times the decay."""
        groups = [{**group, "lr": group["lr"] / 3, "weight_decay": 3 * group["weight_decay"]} for group in groups]
        super().__init__(groups, {"betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every parameter."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for p in parameters:
                if "average" not in self.state[p]:
                    self.state[p]["average"] = torch.zeros_like(p)
            gradients = [p.grad for p in parameters]
            averages = [self.state[p]["average"] for p in parameters]
            signs = torch._foreach_sign(torch._foreach_lerp(averages, gradients, 1 - group["betas"][0]))
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, signs, alpha=-group["lr"])
            torch._foreach_lerp_(averages, gradients, 1 - group["betas"][1])
'''

# A variant of AdamW in which `direction` alone differs; alternatives share the name, since both would stand in the
# place of AdamW.
_ADAMW_VARIANT = '''
class {name}(torch.optim.Optimizer):
    """{summary}"""

    def __init__(
        self, groups: list[dict[str, object]], betas: tuple[float, float], eps: float, horizon: int
    ) -> None:
        """Take over groups of parameters, for a run of `horizon` steps."""
        super().__init__(groups, {{"betas": betas, "eps": eps, "horizon": horizon, "steps": 0}})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move every parameter."""
        for group in self.param_groups:
            group["steps"] += 1
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            for p in parameters:
                if not self.state[p]:
                    self.state[p].update({{name: torch.zeros_like(p) for name in {averages}}})
            directions = self.directions(group, parameters, [p.grad for p in parameters])
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, directions, alpha=-group["lr"])

    def directions(
        self, group: dict[str, object], parameters: list[Tensor], gradients: list[Tensor]
    ) -> list[Tensor]:
        """Update the averages; return what to move against."""
        beta1, beta2 = group["betas"]
        fast, squares = ([self.state[p][name] for p in parameters] for name in ("fast", "square"))
        torch._foreach_lerp_(fast, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        above = torch._foreach_div(fast, 1 - beta1 ** group["steps"])
        below = torch._foreach_sqrt(torch._foreach_div(squares, 1 - beta2 ** group["steps"]))
        torch._foreach_add_(below, group["eps"])
{rest}'''

CAUTIOUS = _ADAMW_VARIANT.format(
    name="CautiousAdamW",
    summary="AdamW that moves a weight only where the step agrees with the gradient in sign, and further there.",
    averages='("fast", "square")',
    rest="""        directions = torch._foreach_div(above, below)
        agrees = [(d * g > 0).to(d.dtype) for d, g in zip(directions, gradients, strict=True)]
        shares = [a.mean().clamp(min=1e-3) for a in agrees]
        return [d * a / share for d, a, share in zip(directions, agrees, shares, strict=True)]
""",
)

ADEMAMIX = _ADAMW_VARIANT.format(
    name="AdEMAMix",
    summary="AdamW whose step adds a second, much slower average, the more the further the run has come.",
    averages='("fast", "slow", "square")',
    rest="""        slow = [self.state[p]["slow"] for p in parameters]
        torch._foreach_lerp_(slow, gradients, 0.001)
        torch._foreach_add_(above, slow, alpha=5 * min(1.0, group["steps"] / group["horizon"]))
        return torch._foreach_div(above, below)
""",
)
