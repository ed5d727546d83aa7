"""A small but real training: a stack of recurrent cells learns to remember. Needs NumPy only.

Each example is a sequence of noisy readings of four symbols and a marker; the class is the symbol that
followed the marker, so the network must notice the marker, keep what comes next and ignore the rest.
Chance is 0.25, a good setting passes 0.9. By hand, and as a search:

    python train.py --learning_rate 0.3 --num_layers 5 --cell_type gru
    augury hyper bayesian --num-runs 12 --parallel-runs 3 --metric keras/val_acc --metric-agg last \
        --param rate=.001:1.0:log --param layers=2:100:int -- \
        python train.py --learning_rate :rate: --num_layers :layers:

After every epoch it reports keras/loss, keras/val_loss and keras/val_acc.
"""

import argparse

import numpy as np

try:
    from augury_sdk import send_metric
except ImportError:  # by hand, where Augury is not installed: the printed lines are all there is

    def send_metric(name, value, index=None):
        """Report nothing."""


SYMBOLS, STEPS, NOISE = 4, 6, 0.25
TRAINING, VALIDATION, BATCH = 800, 400, 80
H = 6  # units of each layer
CARRY = 0.9  # share of a layer's input that is added to its output; without it deep stacks learn nothing
MOMENTUM, CLIP = 0.9, 5.0


def sequences(rng, count):
    """Return readings (STEPS, SYMBOLS + 1, count) and their classes (count,)."""
    symbols = rng.integers(0, SYMBOLS, (STEPS, count))
    marker = rng.integers(0, STEPS - 1, count)
    columns = np.arange(count)
    symbols[marker, columns] = SYMBOLS
    readings = np.eye(SYMBOLS + 1)[symbols].swapaxes(1, 2)
    readings += NOISE * rng.normal(size=readings.shape)
    return readings.astype(np.float32), symbols[marker + 1, columns]


def sigmoid(a):
    """Return the logistic function, in a form that cannot overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def join(*parts):
    """Put units on top of each other."""
    return np.concatenate(parts, axis=-2)


def swap(a):
    """Transpose the last two axes."""
    return a.swapaxes(-1, -2)


# A cell turns inputs x and states s of several layers at once into their next states. x is (layers, H, batch)
# and s (layers, states H, batch), with the output of a layer as the first H units of its state; the weights w
# are (layers, gates H, 2 H + 1), the last column for a constant input. `backward` takes the gradient of the
# next states and returns those of w, x and s.


class RNN:
    """A plain recurrent cell."""

    gates, states, open_gate = 1, 1, None

    def forward(self, w, x, s):
        """Return the next states and what `backward` needs."""
        u = join(x, s, np.ones_like(x[:, :1]))
        h = np.tanh(w @ u)
        return h, (u, h)

    def backward(self, w, memory, ds):
        """Return the gradients of w, x and s."""
        u, h = memory
        da = ds * (1 - h * h)
        du = swap(w) @ da
        return da @ swap(u), du[:, :H], du[:, H:-1]


class GRU:
    """A gated recurrent unit; its gates are keep, reset and the candidate."""

    gates, states, open_gate = 3, 1, 0

    def forward(self, w, x, s):
        """Return the next states and what `backward` needs."""
        u = join(x, s, np.ones_like(x[:, :1]))
        a = sigmoid(w[:, : 2 * H] @ u)
        keep, reset = a[:, :H], a[:, H:]
        v = join(x, reset * s, u[:, -1:])
        new = np.tanh(w[:, 2 * H :] @ v)
        return new + keep * (s - new), (u, v, s, keep, reset, new)

    def backward(self, w, memory, ds):
        """Return the gradients of w, x and s."""
        u, v, s, keep, reset, new = memory
        dnew = ds * (1 - keep) * (1 - new * new)
        dv = swap(w[:, 2 * H :]) @ dnew
        dreset = dv[:, H:-1]
        da = join(ds * (s - new) * keep * (1 - keep), dreset * s * reset * (1 - reset))
        du = swap(w[:, : 2 * H]) @ da
        dw = join(da @ swap(u), dnew @ swap(v))
        return dw, dv[:, :H] + du[:, :H], ds * keep + dreset * reset + du[:, H:-1]


class LSTM:
    """A long short-term memory; its gates are input, forget, output and the candidate."""

    gates, states, open_gate = 4, 2, 1

    def forward(self, w, x, s):
        """Return the next states and what `backward` needs."""
        u, c = join(x, s[:, :H], np.ones_like(x[:, :1])), s[:, H:]
        a = w @ u
        opened = sigmoid(a[:, : 3 * H])
        i, f, o, new = opened[:, :H], opened[:, H : 2 * H], opened[:, 2 * H :], np.tanh(a[:, 3 * H :])
        kept = f * c + i * new
        t = np.tanh(kept)
        return join(o * t, kept), (u, c, i, f, o, new, t)

    def backward(self, w, memory, ds):
        """Return the gradients of w, x and s."""
        u, c, i, f, o, new, t = memory
        dh, dc = ds[:, :H], ds[:, H:] + ds[:, :H] * o * (1 - t * t)
        di, df, do = dc * new * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o)
        da = join(di, df, do, dc * i * (1 - new * new))
        du = swap(w) @ da
        return da @ swap(u), du[:, :H], join(du[:, H:-1], dc * f)


CELLS = {"gru": GRU(), "lstm": LSTM(), "rnn": RNN()}


def initial_weights(rng, cell, layers):
    """Return the weights of the input, of all layers, of the classes, and the bias of the classes."""
    w = rng.normal(size=(layers, cell.gates * H, 2 * H + 1)) / np.sqrt(2 * H)
    w[..., -1] = 0
    if cell.open_gate is not None:  # begin by remembering
        w[:, cell.open_gate * H : (cell.open_gate + 1) * H, -1] = 1
    entry = rng.normal(size=(H, SYMBOLS + 1))
    out = rng.normal(size=(SYMBOLS, H)) / np.sqrt(H)
    return [a.astype(np.float32) for a in (entry, w, out, np.zeros((SYMBOLS, 1)))]


def forward(cell, weights, readings):
    """Return the logarithms of the class probabilities, the last outputs and the ticks for `gradients`.

    At each tick, layer l takes step tick - l: the layers from `first` to `end` have one and none waits for
    another, so a stack of 100 layers costs 100 + STEPS operations on arrays, not 100 * STEPS.
    """
    entry, w, out, bias = weights
    layers, count = len(w), readings.shape[-1]
    states = np.zeros((layers, cell.states * H, count), np.float32)
    outputs = np.zeros((layers + 1, H, count), np.float32)  # outputs[0] is the input of the stack
    ticks = []
    for tick in range(layers + STEPS - 1):
        first, end = max(0, tick - STEPS + 1), min(layers, tick + 1)
        if first == 0:
            outputs[0] = entry @ readings[tick]
        new, memory = cell.forward(w[first:end], outputs[first:end], states[first:end].copy())
        outputs[first + 1 : end + 1] = CARRY * outputs[first:end] + new[:, :H]
        states[first:end] = new
        ticks.append((tick, first, end, memory))
    logits = out @ outputs[-1] + bias
    logits -= logits.max(axis=0)
    return logits - np.log(np.exp(logits).sum(axis=0)), outputs[-1], ticks


def gradients(cell, weights, readings, classes):
    """Return the mean loss of a batch and the gradient of each of the weights."""
    entry, w, out, _ = weights
    logs, last, ticks = forward(cell, weights, readings)
    columns = np.arange(len(classes))
    dlogits = np.exp(logs)
    dlogits[classes, columns] -= 1
    dlogits /= len(classes)
    dentry, dw = np.zeros_like(entry), np.zeros_like(w)
    dstates = np.zeros((len(w), cell.states * H, len(classes)), np.float32)
    doutputs = np.zeros((len(w) + 1, H, len(classes)), np.float32)
    doutputs[-1] = out.T @ dlogits
    for tick, first, end, memory in reversed(ticks):
        above = doutputs[first + 1 : end + 1].copy()
        doutputs[first + 1 : end + 1] = 0
        dstates[first:end, :H] += above
        dlayers, dx, dstates[first:end] = cell.backward(w[first:end], memory, dstates[first:end])
        dw[first:end] += dlayers
        doutputs[first:end] += dx + CARRY * above
        if first == 0:
            dentry += doutputs[0] @ readings[tick].T
            doutputs[0] = 0
    return -logs[classes, columns].mean(), [dentry, dw, dlogits @ last.T, dlogits.sum(axis=1, keepdims=True)]


def train(rate, layers, cell, epochs, seed):
    """Train a network by gradient descent with momentum; yield loss, val_loss and val_acc of each epoch."""
    rng = np.random.default_rng(seed)
    readings, classes = sequences(rng, TRAINING)
    val_readings, val_classes = sequences(rng, VALIDATION)
    weights = initial_weights(rng, cell, layers)
    velocities = [np.zeros_like(a) for a in weights]
    for _ in range(epochs):
        losses = []
        for batch in rng.permutation(TRAINING).reshape(-1, BATCH):
            loss, grads = gradients(cell, weights, readings[..., batch], classes[batch])
            losses.append(loss)
            norm = np.sqrt(sum(np.sum(g * g, dtype=float) for g in grads))
            if not np.isfinite(norm):  # overflown on the way down a deep stack: there is no direction to go
                continue
            for k, gradient in enumerate(grads):
                velocities[k] = MOMENTUM * velocities[k] - rate / max(1, norm / CLIP) * gradient
                weights[k] += velocities[k]
        logs = forward(cell, weights, val_readings)[0]
        val_loss = -logs[val_classes, np.arange(VALIDATION)].mean()
        yield np.mean(losses), val_loss, np.mean(logs.argmax(axis=0) == val_classes)


def main():
    """Read the options, train, and report after every epoch."""
    parser = argparse.ArgumentParser(description="Train a small stack of recurrent cells.")
    parser.add_argument("--learning_rate", type=float, default=0.3)
    parser.add_argument("--num_layers", type=int, default=3)
    parser.add_argument("--cell_type", choices=sorted(CELLS), default="gru")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    if not (0 < o.learning_rate < np.inf and o.num_layers >= 1 and o.epochs >= 1 and o.seed >= 0):
        parser.error("--learning_rate must be > 0, --num_layers and --epochs >= 1, --seed >= 0")
    np.seterr(over="ignore", invalid="ignore")
    results = train(o.learning_rate, o.num_layers, CELLS[o.cell_type], o.epochs, o.seed)
    for epoch, (loss, val_loss, val_acc) in enumerate(results):
        send_metric("keras/loss", loss, epoch)
        send_metric("keras/val_loss", val_loss, epoch)
        send_metric("keras/val_acc", val_acc, epoch)
        text = f"loss {loss:.4f}  val_loss {val_loss:.4f}  val_acc {val_acc:.4f}"
        print(f"epoch {epoch + 1}/{o.epochs}  {text}", flush=True)


if __name__ == "__main__":
    main()
