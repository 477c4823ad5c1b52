"""EAMC: the end-to-end adversarial-attention network for multimodal clustering."""

__all__: list[str] = []
