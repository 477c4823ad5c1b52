"""The losses of EAMC as printed, one entry at a time; gradients flow through them."""

import torch

LOSS_EPSILON = 1e-9


def add(terms, like):
    total = like.new_zeros(())
    for term in terms:
        total = total + term
    return total


def table(rows):
    return torch.stack([torch.stack(list(row)) for row in rows])


def squared_distances(x):
    m, d = x.shape
    return table(
        [add([(x[i, t] - x[j, t]) ** 2 for t in range(d)], x) for j in range(m)]
        for i in range(m)
    )


def gaussian_kernel(x, width=0.15):
    distances = squared_distances(x)
    m = len(x)
    ordered = sorted(distances.detach().flatten().tolist())
    median = ordered[(m * m - 1) // 2]  # of an even number, the lower one
    variance = max(width * median, LOSS_EPSILON)
    return table(
        [torch.exp(-distances[i, j] / (2 * variance)) for j in range(m)]
        for i in range(m)
    )


def cauchy_schwarz_divergence(membership, kernel):
    m, k = membership.shape

    def inner(a, b):
        return add(
            [
                membership[i, a] * kernel[i, j] * membership[j, b]
                for i in range(m)
                for j in range(m)
            ],
            membership,
        )

    norms = [torch.clamp_min(inner(a, a), LOSS_EPSILON) for a in range(k)]
    cosines = [
        inner(a, b) / torch.sqrt(norms[a] * norms[b])
        for a in range(k)
        for b in range(a + 1, k)
    ]
    return 2 / (k * (k - 1)) * add(cosines, membership)


def corner_closeness(assignment):
    m, k = assignment.shape
    corners = torch.eye(k, dtype=assignment.dtype)
    return table(
        [
            torch.exp(
                -add([(assignment[q, t] - c[t]) ** 2 for t in range(k)], assignment)
            )
            for c in corners
        ]
        for q in range(m)
    )


def upper_triangle(matrix):
    n = len(matrix)
    return add([matrix[i, j] for i in range(n) for j in range(i + 1, n)], matrix)


def balance_penalty(assignment):
    m = len(assignment)
    return 2 / (m * (m - 1)) * upper_triangle(assignment @ assignment.T)


def confidence_penalty(assignment):
    k = assignment.shape[1]
    return 2 / (k * (k - 1)) * upper_triangle(assignment.T @ assignment)


def attention_mismatch(fused, kernels, weights, observed=None):
    m, n_modalities = len(fused), len(kernels)
    squares = []
    for i in range(m):
        for j in range(m):
            shared = [
                v
                for v in range(n_modalities)
                if observed is None or (observed[i, v] and observed[j, v])
            ]
            if shared:
                total = add([weights[v] for v in shared], fused)
                mixed = add([weights[v] * kernels[v, i, j] for v in shared], fused)
                squares.append((fused[i, j] - mixed / total) ** 2)
    return add(squares, fused) / (m * m)


def adversarial_cross_entropy(logits, real, rows=None):
    means = []
    for d in range(len(logits)):
        losses = []
        for q in range(logits.shape[1]):
            if rows is None or rows[d, q]:
                says_real = 1 / (1 + torch.exp(-logits[d, q]))
                losses.append(-torch.log(says_real if real else 1 - says_real))
        means.append(add(losses, logits) / max(1, len(losses)))
    return add(means, logits)


def neighbor_disagreement(a, b):
    m, k = a.shape
    return torch.stack(
        [-torch.log(add([a[q, i] * b[q, i] for i in range(k)], a)) for q in range(m)]
    )


def cluster_size_divergence(assignment):
    m, k = assignment.shape
    divergence = []
    for i in range(k):
        share = add([assignment[q, i] for q in range(m)], assignment) / m
        if share > 0:
            divergence.append(share * torch.log(share * k))
    return add(divergence, assignment)


def nt_xent(a, b, temperature=0.1, observed=None):
    rows = [q for q in range(len(a)) if observed is None or observed[q]]

    def similarity(x, y):
        lengths = torch.sqrt(add(x * x, x) * add(y * y, y))
        return torch.exp(add(x * y, x) / lengths / temperature)

    losses = []
    for q in rows:
        for own, other in ((a, b), (b, a)):
            positive = similarity(own[q], other[q])
            negatives = [similarity(own[q], other[r]) for r in rows if r != q]
            negatives += [similarity(own[q], own[r]) for r in rows if r != q]
            assert len(negatives) == 2 * len(rows) - 2
            losses.append(-torch.log(positive / add([positive, *negatives], a)))
    return add(losses, a) / max(1, len(rows))


def contrastive_loss(latents, temperature=0.1, observed=None):
    n_modalities = len(latents)
    losses = []
    for u in range(n_modalities):
        for v in range(u + 1, n_modalities):
            both = None
            if observed is not None:
                both = [bool(row[u] and row[v]) for row in observed]
            losses.append(nt_xent(latents[u], latents[v], temperature, both))
    return add(losses, latents) / max(1, len(losses))


def column_contrast(a, b, temperature=1.0, observed=None):
    m, k = a.shape
    rows = [q for q in range(m) if observed is None or observed[q]]
    if not rows:
        return a.sum() * 0
    columns = [[x[q, j] for q in rows] for x in (a, b) for j in range(k)]

    def similarity(i, j):
        inner = add([p * q for p, q in zip(columns[i], columns[j], strict=True)], a)
        norms = [torch.sqrt(add([p * p for p in columns[t]], a)) for t in (i, j)]
        return inner / (norms[0] * norms[1]) / temperature

    losses = []
    for i in range(2 * k):
        others = [torch.exp(similarity(i, j)) for j in range(2 * k) if j != i]
        losses.append(torch.log(add(others, a)) - similarity(i, (i + k) % (2 * k)))
    return add(losses, a) / k


def assignment_contrast(assignments, temperature=1.0, observed=None):
    return _mean_over_pairs(
        assignments,
        observed,
        lambda a, b, both: column_contrast(a, b, temperature, both),
    )


def assignment_balance(assignments, observed=None):
    def balance(a, b, both):
        rows = [q for q in range(len(a)) if both is None or both[q]]
        if not rows:
            return a.sum() * 0
        k = a.shape[1]
        terms = []
        for x in (a, b):
            sizes = [add([x[q, j] for q in rows], x) / len(rows) for j in range(k)]
            terms += [size * torch.log(size * k) for size in sizes]
        return add(terms, a)

    return _mean_over_pairs(assignments, observed, balance)


def _mean_over_pairs(assignments, observed, loss):
    n = len(assignments)
    losses = []
    for u in range(n):
        for v in range(u + 1, n):
            both = None
            if observed is not None:
                both = [bool(row[u] and row[v]) for row in observed]
            losses.append(loss(assignments[u], assignments[v], both))
    return add(losses, assignments) / max(1, len(losses))
