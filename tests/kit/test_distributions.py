"""Torch and numpy twins against torch.distributions, in double precision and at extreme inputs."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import distributions as reference

from rllib.actions import ActionHead, CategoricalHead, action_head
from rllib.actions.box import LOG_STD_RANGE
from rllib.distributions import (
    Categorical,
    Deterministic,
    DiagGaussian,
    EpsilonGreedy,
    SquashedGaussian,
    distribution_for,
    distribution_of,
)

BOX = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
SPACES = {
    "discrete": gym.spaces.Discrete(5, start=2),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 5, 2], start=[0, 7, -1]),
    "equal_sizes": gym.spaces.MultiDiscrete([[4, 4], [4, 4]]),
    "multi_binary": gym.spaces.MultiBinary((2, 3)),
    "box": BOX,
    "integer_box": gym.spaces.Box(-2, np.int8([1, 0]), dtype=np.int8),
    "nested": gym.spaces.Dict(
        {
            "arm": gym.spaces.Tuple([gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3)]),
            "grip": gym.spaces.MultiBinary(2),
            "mode": gym.spaces.MultiDiscrete([2, 3]),
        }
    ),
}


class Product:
    """Independent torch.distributions, each with how many numbers its actions have; 0 is one."""

    def __init__(self, *parts):
        self.parts = parts

    def log_prob(self, actions):
        """Of actions [B], or in one row [B, W]."""
        columns = actions[:, None] if actions.ndim == 1 else actions
        total, start = 0, 0
        for each, width in self.parts:
            value = columns[:, start : start + width] if width else columns[:, start]
            total, start = total + each.log_prob(value), start + max(1, width)
        return total

    def entropy(self):
        return sum(each.entropy() for each, _ in self.parts)

    def kl(self, other):
        pairs = zip(self.parts, other.parts, strict=True)
        return sum(reference.kl_divergence(p, q) for (p, _), (q, _) in pairs)

    def mode(self):
        return torch.cat([each.mode.reshape(len(each.mode), -1) for each, _ in self.parts], -1)


def build(space, inputs):
    """What torch has for a space, on inputs [B, num_inputs]."""
    match space:
        case gym.spaces.Discrete():
            return Product((reference.Categorical(logits=inputs), 0))
        case gym.spaces.MultiDiscrete():
            return _choices(space.nvec.ravel().tolist(), inputs)
        case gym.spaces.MultiBinary():
            switches = reference.Independent(reference.Bernoulli(logits=inputs), 1)
            return Product((switches, inputs.shape[1]))
        case gym.spaces.Box() if np.issubdtype(space.dtype, np.integer):
            return _choices((space.high - space.low + 1).tolist(), inputs)
        case gym.spaces.Box():
            mean, log_std = inputs.chunk(2, -1)
            normal = reference.Normal(mean, log_std.exp())
            return Product((reference.Independent(normal, 1), mean.shape[1]))
    parts = space.spaces.values() if isinstance(space, gym.spaces.Dict) else space.spaces
    sizes = [action_head(part).num_inputs for part in parts]
    built = [build(*pair) for pair in zip(parts, inputs.split(sizes, -1), strict=True)]
    return Product(*[part for product in built for part in product.parts])


def _choices(sizes, inputs):
    parts = inputs.split(sizes, -1)
    return Product(*[(reference.Categorical(logits=part), 0) for part in parts])


@pytest.fixture(params=SPACES.values(), ids=SPACES)
def space(request):
    return request.param


@pytest.fixture(params=[1.0, 8.0], ids=["moderate", "extreme"])
def case(request, space):
    """Space, head, inputs [50, num_inputs], other inputs, noise and actions [50, ...]."""
    head = action_head(space)
    rng = np.random.default_rng(0)
    inputs, others = rng.normal(size=(2, 50, head.num_inputs), scale=request.param)
    inputs, others = inputs.astype(np.float32), others.astype(np.float32)
    noise = head.draw_noise(rng, (50,))
    return space, head, inputs, others, noise, head.sample(inputs, noise)


def close(ours, theirs, rtol=1e-4, atol=1e-4):
    torch.testing.assert_close(torch.as_tensor(ours).double(), theirs, rtol=rtol, atol=atol)


def test_torch_and_numpy_agree_with_torch_distributions(case):
    space, head, inputs, others, _, actions = case
    ours = distribution_for(space)
    x, y, a = map(torch.from_numpy, (inputs, others, actions))
    exact, other = build(space, x.double()), build(space, y.double())
    expected = exact.log_prob(a.double())
    close(ours.log_prob(x, a), expected)
    close(head.log_prob(inputs, actions), expected)
    close(ours.entropy(x), exact.entropy())
    close(ours.kl(x, y), exact.kl(other))
    close(ours.kl(x, x), torch.zeros(50, dtype=torch.float64))
    assert head.log_prob(inputs, actions).dtype == np.float32


def test_the_mode_is_the_most_likely_action(case):
    space, head, inputs, *_ = case
    expected = build(space, torch.from_numpy(inputs)).mode()
    np.testing.assert_array_equal(head.mode(inputs).reshape(50, -1), expected)
    mode = distribution_for(space).mode(torch.from_numpy(inputs))
    np.testing.assert_array_equal(mode.reshape(50, -1), expected)
    assert head.mode(inputs).shape == (50, *head.action_shape)
    assert head.mode(inputs).dtype == head.action_dtype


def test_both_twins_make_the_same_actions_of_the_same_noise(case):
    space, head, inputs, _, noise, actions = case
    assert noise.shape == (50, *head.noise_shape)
    assert actions.shape == (50, *head.action_shape)
    assert actions.dtype == head.action_dtype
    ours = distribution_for(space)
    sampled = ours.sample(torch.from_numpy(inputs), torch.from_numpy(noise))
    np.testing.assert_allclose(sampled.numpy(), actions, rtol=1e-5, atol=1e-6)
    assert ours.draw_noise(torch.from_numpy(inputs)).shape == noise.shape


def test_leading_dimensions_are_free_in_torch(case):
    space, _, inputs, others, noise, actions = case
    ours = distribution_for(space)
    x, y, z, a = map(torch.from_numpy, (inputs, others, noise, actions))
    X, Y, Z, A = (part.unflatten(0, (5, 10)) for part in (x, y, z, a))
    for many, flat in (
        (ours.log_prob(X, A), ours.log_prob(x, a)),
        (ours.entropy(X), ours.entropy(x)),
        (ours.kl(X, Y), ours.kl(x, y)),
        (ours.mode(X), ours.mode(x)),
        (ours.sample(X, Z), ours.sample(x, z)),
    ):
        torch.testing.assert_close(many.flatten(0, 1), flat)
    assert ours.draw_noise(X).shape == Z.shape


def test_everything_has_finite_gradients(case):
    space, _, inputs, others, _, actions = case
    ours = distribution_for(space)
    x = torch.from_numpy(inputs).requires_grad_()
    y, a = torch.from_numpy(others), torch.from_numpy(actions)
    for value in (ours.log_prob(x, a), ours.entropy(x), ours.kl(x, y), ours.kl(y, x)):
        (gradient,) = torch.autograd.grad(value.sum(), x)
        assert gradient.isfinite().all()


# Squashed normals.

BOUNDED = gym.spaces.Box(-1, 1, (3,), np.float32)


def normals(inputs):
    mean, log_std = inputs.double().chunk(2, -1)
    return mean, log_std.clamp(*LOG_STD_RANGE)


@pytest.mark.parametrize("scale", [0.5, 5.0, 50.0])
def test_a_squashed_sample_knows_its_density_however_near_to_the_bounds(scale):
    torch.manual_seed(0)
    inputs, noise = torch.randn(200, 6) * scale, torch.randn(200, 3)
    actions, log_prob = SquashedGaussian().rsample(inputs, noise)
    mean, log_std = normals(inputs)
    raw = mean + log_std.exp() * noise
    # 1 - tanh**2 = 1 / cosh**2, whose logarithm is linear where cosh itself would overflow.
    log_cosh = raw.abs() + torch.log1p((-2 * raw.abs()).exp()) - np.log(2)
    exact = reference.Normal(mean, log_std.exp()).log_prob(raw) + 2 * log_cosh
    close(log_prob, exact.sum(-1), rtol=1e-4, atol=1e-3)
    close(actions, raw.tanh())
    assert actions.abs().max() <= 1.0


def test_squashed_twins_agree_with_torch_distributions_on_given_actions():
    torch.manual_seed(1)
    inputs = torch.randn(100, 6)
    actions = torch.rand(100, 3) * 1.98 - 0.99
    mean, log_std = normals(inputs)
    squash = reference.TanhTransform()
    exact = reference.TransformedDistribution(reference.Normal(mean, log_std.exp()), squash)
    expected = exact.log_prob(actions.double()).sum(-1)
    close(SquashedGaussian().log_prob(inputs, actions), expected, atol=1e-3)
    head = action_head(BOUNDED, "squashed")
    close(head.log_prob(inputs.numpy(), actions.numpy()), expected, atol=1e-3)
    close(head.mode(inputs.numpy()), mean.tanh())
    close(SquashedGaussian().mode(inputs), mean.tanh())


def test_squashed_twins_make_the_same_actions_of_the_same_noise():
    head, ours = action_head(BOUNDED, "squashed"), distribution_for(BOUNDED, "squashed")
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(100, 6), scale=3).astype(np.float32)
    noise = head.draw_noise(rng, (100,))
    x, z = torch.from_numpy(inputs), torch.from_numpy(noise)
    assert ours.draw_noise(x).shape == z.shape
    np.testing.assert_allclose(ours.sample(x, z), head.sample(inputs, noise), atol=1e-6)
    # At the bounds, where the density of a float32 is a matter of its last bits, they agree still.
    edge = np.sign(noise)
    np.testing.assert_allclose(
        ours.log_prob(x, torch.from_numpy(edge)), head.log_prob(inputs, edge), rtol=1e-3, atol=1e-2
    )


def test_a_squashed_density_is_one_altogether():
    grid = np.linspace(-1, 1, 200_001, dtype=np.float32)
    head = action_head(gym.spaces.Box(-1, 1, (1,)), "squashed")
    for mean, log_std in ((0.0, 0.0), (1.0, -1.0), (-0.5, -2.0)):
        inputs = np.broadcast_to(np.float32([mean, log_std]), (len(grid), 2))
        density = np.exp(head.log_prob(inputs, grid[:, None]))
        assert density.mean() * 2 == pytest.approx(1.0, abs=2e-3)


def test_squashed_entropy_and_kl():
    torch.manual_seed(3)
    ours = SquashedGaussian()
    row, other = torch.tensor([[0.3, -0.5, 0.2, -0.4]]), torch.tensor([[0.0, 0.1, 0.5, -1.0]])
    # By quadrature: E[log N] is known, and log(1 - tanh**2) is smooth.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    mean, log_std = normals(row)
    raw = mean.numpy()[..., None] + np.exp(log_std.numpy())[..., None] * nodes
    slopes = (np.log(1 - np.tanh(raw) ** 2) * weights / weights.sum()).sum()
    exact = float(DiagGaussian().entropy(row)) + slopes
    assert float(ours.entropy(row.expand(200_000, -1)).mean()) == pytest.approx(exact, abs=0.02)
    torch.testing.assert_close(ours.kl(row, other), DiagGaussian().kl(row, other))


def test_a_squashed_sample_passes_gradients_on():
    inputs = torch.tensor([[0.2, -1.0], [30.0, 1.0], [0.0, -50.0]], requires_grad=True)
    noise = torch.tensor([[0.7], [-0.3], [1.0]])
    actions, log_prob = SquashedGaussian().rsample(inputs, noise)
    (gradient,) = torch.autograd.grad(actions.sum() + log_prob.sum(), inputs)
    assert gradient.isfinite().all()
    raw = 0.2 + np.exp(-1.0) * 0.7
    # d tanh = 1 - tanh**2, and d(-log(1 - tanh**2)) = 2 tanh.
    expected = 1 - np.tanh(raw) ** 2 + 2 * np.tanh(raw)
    assert float(gradient[0, 0]) == pytest.approx(expected, rel=1e-5)
    assert gradient[2, 1] == 0  # beyond the range of log_std


# Deterministic actions and action values.


def test_deterministic_twins():
    settings = {"noise_std": 0.5, "noise_clip": 0.2}
    head = action_head(BOUNDED, "deterministic", **settings)
    ours = distribution_for(BOUNDED, "deterministic", **settings)
    inputs = np.float32([[0.0, 5.0, -0.3]])
    noise = np.float32([[0.1, 3.0, -3.0]])
    # Noise 0.05, and cut to 0.2 and -0.2; the sum is cut to 1.
    expected = [[0.05, 1.0, np.tanh(-0.3) - 0.2]]
    np.testing.assert_allclose(head.sample(inputs, noise), expected, atol=1e-6)
    x = torch.from_numpy(inputs)
    np.testing.assert_allclose(ours.sample(x, torch.from_numpy(noise)), expected, atol=1e-6)
    np.testing.assert_allclose(head.mode(inputs), np.tanh(inputs), atol=1e-6)
    np.testing.assert_allclose(ours.mode(x), np.tanh(inputs), atol=1e-6)
    assert head.log_prob(inputs, noise).tolist() == [0.0]
    assert ours.log_prob(x, x).tolist() == ours.entropy(x).tolist() == [0.0]
    assert ours.draw_noise(x).shape == (1, *head.noise_shape)
    with pytest.raises(TypeError, match="no KL"):
        Deterministic().kl(x, x)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_twins(epsilon):
    space = gym.spaces.Discrete(4)
    head = action_head(space, "epsilon_greedy", epsilon=epsilon)
    ours = distribution_for(space, "epsilon_greedy", epsilon=epsilon)
    rng = np.random.default_rng(4)
    values, others = rng.normal(size=(2, 500, 4)).astype(np.float32)
    noise = head.draw_noise(rng, (500,))
    actions = head.sample(values, noise)
    x, y, a = map(torch.from_numpy, (values, others, actions))
    best = np.eye(4)[values.argmax(-1)]
    exact, other = (
        reference.Categorical(probs=torch.from_numpy(epsilon / 4 + (1 - epsilon) * each))
        for each in (best, np.eye(4)[others.argmax(-1)])
    )
    np.testing.assert_array_equal(ours.sample(x, torch.from_numpy(noise)), actions)
    np.testing.assert_array_equal(head.mode(values), ours.mode(x))
    np.testing.assert_array_equal(head.mode(values), values.argmax(-1))
    close(ours.log_prob(x, a), exact.log_prob(a), atol=1e-5)
    close(head.log_prob(values, actions), exact.log_prob(a), atol=1e-5)
    close(ours.entropy(x), exact.entropy(), atol=1e-5)
    if epsilon:
        close(ours.kl(x, y), reference.kl_divergence(exact, other), atol=1e-5)
    assert ours.kl(x, y).isfinite().all()
    assert ours.draw_noise(x).shape == noise.shape


# Twins of heads.


def test_the_twin_of_a_head_has_its_settings():
    head = action_head(gym.spaces.Discrete(3), "epsilon_greedy", epsilon=[(0, 1.0), (100, 0.0)])
    assert isinstance(distribution_of(head), EpsilonGreedy)
    assert distribution_of(head).epsilon == 1.0
    assert distribution_of(head.at(75)).epsilon == 0.25
    assert isinstance(distribution_of(CategoricalHead(gym.spaces.Discrete(3))), Categorical)


def test_a_head_of_ones_own_needs_a_twin_of_ones_own():
    class OwnHead(ActionHead):
        action_dtype = np.float32
        num_inputs = 1
        action_shape = noise_shape = ()
        draw_noise = sample = mode = log_prob = to_env = None

    with pytest.raises(TypeError, match=r"OwnHead has no twin.*make_distribution"):
        distribution_of(OwnHead())


# Devices.


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        *((space, "stochastic") for space in SPACES.values()),
        (BOUNDED, "squashed"),
        (BOUNDED, "deterministic"),
        (gym.spaces.Discrete(3), "epsilon_greedy"),
    ],
)
def test_everything_stays_on_the_device_of_its_inputs(space, kind):
    head, ours = action_head(space, kind), distribution_for(space, kind)
    x = torch.empty(4, head.num_inputs, device="meta")
    noise = ours.draw_noise(x)
    actions = ours.sample(x, noise)
    found = [noise, actions, ours.mode(x), ours.log_prob(x, actions), ours.entropy(x)]
    if kind != "deterministic":
        found.append(ours.kl(x, x))
    assert all(each.is_meta for each in found)
    assert actions.shape == (4, *head.action_shape)
