"""Vectors of texts, by one embedding server that all arms share.

vectors   what was embedded before, and is embedded now; kept by content
checking  what a server answers has to be
sources   whoever answers: a server of ours, or an endpoint that somebody else runs
embedder  texts in, vectors out; starts a server when a vector is missing
making    from the spec to an embedder
"""

from infra.engines.embeddings.embedder import Embedder
from infra.engines.embeddings.making import embedder_of, identity_of, memory_share, setup_of

__all__ = ["Embedder", "embedder_of", "identity_of", "memory_share", "setup_of"]
