"""Storage of fitted deep estimators: pickle without torch objects, sealed files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mmfusion._validation import Layout
from mmfusion.base import ModalityMixin
from mmfusion.nn._data import Preparation
from mmfusion.nn._devices import available_devices
from mmfusion.nn._isolation import isolated
from mmfusion.nn._net import DeepNet
from mmfusion.nn._sealed import read_sealed, write_sealed
from mmfusion.nn._state import net_state, set_net_state, to_arrays, to_tensors
from mmfusion.nn._trainer import NOT_OF_THE_NETWORK, Trainer, current_options

# attributes that are neither parameters nor learned
_SETTINGS = {"_sklearn_output_config", "_metadata_request", "_skl_callbacks"}


class StoredNetworkMixin(ModalityMixin):
    """An estimator that holds a net, and is stored as arrays and plain values.

    Pickle, joblib and skops see arrays in place of torch modules, so that no class of
    torch need be trusted, and a network trained on an accelerator loads without one.
    """

    # of the estimator that it is mixed into
    trainer: Trainer | None
    modality_names_in_: np.ndarray
    get_params: Callable[..., dict[str, Any]]
    _make_net: Callable[[list[Any]], DeepNet]

    _net: DeepNet
    _preparation: Preparation
    _made_with: dict[str, Any]

    # fitted attributes that decide which network is made
    _network_attributes: ClassVar[Sequence[str]] = ()

    def save_params(self, path: str | os.PathLike[str]) -> None:
        """Save everything that was learned, without pickle.

        Parameters
        ----------
        path : str or path-like
            The file. It is replaced as a whole or, after an error, not at all.

        Raises
        ------
        OSError
            If the file cannot be written.

        See Also
        --------
        load_params : Restore what was saved.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mmfusion import EAMCClusterer, Trainer
        >>> from mmfusion.datasets import make_multimodal_blobs
        >>> X, y = make_multimodal_blobs(random_state=0)
        >>> trainer = Trainer(pretrain_epochs=10, max_epochs=5)
        >>> clusterer = EAMCClusterer(
        ...     3, encoders=[16, 8], trainer=trainer, random_state=0
        ... )
        >>> labels = clusterer.fit_predict(X)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clusterer.save_params(Path(folder) / "clusterer.pt")
        ...     other = EAMCClusterer(3, encoders=[16, 8])
        ...     other = other.load_params(Path(folder) / "clusterer.pt")
        >>> bool((other.predict(X) == labels).all())
        True
        """
        check_is_fitted(self)
        stored = self.__getstate__()
        learned = {k: v for k, v in stored.items() if k in self._learned_names()}
        learned["_net"] = {k: v for k, v in stored["_net"].items() if k != "params"}
        learned["_layout"] = dataclasses.asdict(self._layout)
        del learned["_layout"]["as_given"]  # none: it takes numbers only
        write_sealed(path, {type(self).__name__: to_tensors(learned)})

    @isolated()
    def load_params(self, path: str | os.PathLike[str]) -> Self:
        """Restore what an estimator of the same parameters has learned.

        Parameters
        ----------
        path : str or path-like
            A file that `save_params` wrote. It is read without running code.

        Returns
        -------
        self
            Fitted as the other estimator was.

        Raises
        ------
        ValueError
            If the file is damaged or holds something else, or the parameters make a
            network of other layers. The estimator is unchanged then.
        """
        kind = type(self).__name__
        try:
            content = read_sealed(path)
            if set(content) != {kind}:
                raise ValueError(f"it holds no parameters of {kind}")
            learned = to_arrays(content[kind])
            lacking = {"_net", "_preparation", "_layout"} - set(learned)
            if lacking:
                raise ValueError(f"it lacks {sorted(lacking)}")
            learned["_layout"] = Layout(**learned["_layout"])
            made = type(self)(**self.get_params(deep=False))
            made.__setstate__(vars(made) | learned)
        except ValueError as error:
            raise ValueError(
                f"cannot load parameters from {os.fspath(path)!r}: {error}"
            ) from error
        made._made_with = made._network_params()
        for name in self._learned_names():
            delattr(self, name)
        self.__dict__ |= {name: getattr(made, name) for name in made._learned_names()}
        return self

    def _learned_names(self) -> list[str]:
        """List the attributes that are neither parameters nor settings."""
        given = {*self.get_params(deep=False), *_SETTINGS}
        return [name for name in vars(self) if name not in given]

    def _network_params(self) -> dict[str, Any]:
        """Return the parameters that decide which network is made, as plain values."""
        params = self.get_params(deep=False)
        params = {
            k: v for k, v in params.items() if k not in ("modalities", "random_state")
        }
        if params["trainer"] is not None:
            options = params["trainer"].get_params(deep=False)
            params["trainer"] = {
                k: v for k, v in options.items() if k not in NOT_OF_THE_NETWORK
            }
        return params

    def __getstate__(self) -> dict[str, Any]:
        """Return attributes, with arrays in place of networks."""
        state = dict(super().__getstate__())
        if "_net" not in state:
            return state
        # set_params may have changed them since
        state["_net"] = {"params": state["_made_with"]} | net_state(self._net)
        state["_preparation"] = self._preparation.get_state()
        # resumed calls of partial_fit concern the process that makes them
        left_out = ("_made_with", "_chunks")
        return {k: v for k, v in state.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set attributes, and make the network from its arrays."""
        super().__setstate__(state)
        if "_net" not in state:
            return
        if not isinstance(state["_net"], dict):  # stored by an older version
            self._made_with = self._network_params()
            return
        self._preparation = Preparation.from_state(state["_preparation"])
        stored = state["_net"].get("params", {})
        params = self.get_params(deep=False) | stored
        if isinstance(params["trainer"], dict):
            params["trainer"] = Trainer(**current_options(params["trainer"]))
        made = type(self)(**params)
        for name in ("modality_names_in_", *self._network_attributes):
            setattr(made, name, getattr(self, name))
        made._preparation = self._preparation
        if made.trainer is not None:
            device = str(made.trainer.device)
            if device not in ("auto", *available_devices()):
                made.trainer = Trainer(**made.trainer.get_params() | {"device": "cpu"})
        callbacks = None if self.trainer is None else self.trainer.callbacks
        with isolated():
            self._net = made._make_net(callbacks or [])
            set_net_state(self._net, state["_net"])
        self._made_with = stored
