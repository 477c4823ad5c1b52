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


def column_contrast(a, b, temperature=1.0):
    m, k = a.shape
    if m == 0:
        return a.sum() * 0
    columns = [[x[q, j] for q in range(m)] for x in (a, b) for j in range(k)]

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
    pairs = pairs_of(assignments, observed)
    losses = [column_contrast(a, b, temperature) for a, b in pairs]
    return add(losses, assignments) / max(1, len(losses))


def assignment_balance(assignments, observed=None):
    losses = []
    for pair in pairs_of(assignments, observed):
        losses.append(assignments.sum() * 0)
        for x in pair:
            m, k = x.shape
            for j in range(k if m else 0):
                size = add([x[q, j] for q in range(m)], x) / m
                losses[-1] = losses[-1] + size * torch.log(size * k)
    return add(losses, assignments) / max(1, len(losses))


def covariance(x, y):
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    return add([torch.outer(x[q], y[q]) for q in range(n)], x) / max(1, n - 1)


def inverse_root(x, shrinkage):
    own = covariance(x, x)
    d = len(own)
    ridge = shrinkage * own.trace() / d * torch.eye(d, dtype=own.dtype)
    values, vectors = torch.linalg.eigh((1 - shrinkage) * own + ridge)
    return vectors @ torch.diag(values ** (-1 / 2)) @ vectors.T


def pairs_of(latents, observed):
    for u in range(len(latents)):
        for v in range(u + 1, len(latents)):
            both = [
                q
                for q in range(latents.shape[1])
                if observed is None or (observed[q, u] and observed[q, v])
            ]
            yield latents[u][both], latents[v][both]


def canonical_correlation_loss(
    latents, observed=None, n_components=None, shrinkage=1e-3
):
    losses = []
    for a, b in pairs_of(latents, observed):
        if len(a) <= a.shape[1]:
            continue
        roots = [inverse_root(x, shrinkage) for x in (a, b)]
        coherence = (1 - shrinkage) * roots[0] @ covariance(a, b) @ roots[1]
        squares = torch.linalg.eigh(coherence.T @ coherence)[0].flip(0)
        losses.append(-squares[:n_components].clamp_min(0).sqrt().sum())
    return add(losses, latents) / max(1, len(losses))


def eckart_young_loss(latents, observed=None):
    pairs = pairs_of(latents, observed)
    across = add([covariance(a, b).trace() for a, b in pairs], latents)
    within = 0
    for v, own in enumerate(latents):
        rows = [q for q in range(len(own)) if observed is None or observed[q, v]]
        within = within + covariance(own[rows], own[rows])
    return -2 * 2 * across + (within**2).sum()


def sharpened(assignment, sizes):
    m, k = assignment.shape
    rows = []
    for q in range(m):
        shares = [assignment[q, j] ** 2 / sizes[j] for j in range(k)]
        rows.append([share / sum(shares) for share in shares])
    return table(rows)


def target_divergence(targets, logits):
    m, k = targets.shape
    total = []
    for q in range(m):
        normaliser = torch.log(add([torch.exp(logits[q, j]) for j in range(k)], logits))
        for j in range(k):
            if targets[q, j] > 0:
                log_assignment = logits[q, j] - normaliser
                total.append(
                    targets[q, j] * (torch.log(targets[q, j]) - log_assignment)
                )
    return add(total, logits) / m
