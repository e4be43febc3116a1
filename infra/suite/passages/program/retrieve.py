"""Split documents, index them and find the nearest passages, with LlamaIndex or LangChain.

`exchange` in the folder `quantizers/program` says how it is asked and how it answers. The request:

    {"version": 1, "library": "llama-index" | "langchain", "chunk_size": int, "overlap": int,
     "top_k": int, "documents": [{"name", "text"}, …], "questions": [str, …],
     "server": {"base_url", "model", "key"}}

Sizes are in letters. The response, on success: `chunks` [{"document", "text"}, …], and `found`, one
list of numbers of chunks for each question, the nearest first; `tried` names what was to be reached
and was not. Vectors come from the server, asked by the library's own client; nothing else is
reached.
"""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

# Isolated, Python does not look beside the script.
sys.path.insert(0, str(Path(__file__).parents[3] / "quantizers" / "program"))

import exchange

PACKAGES = (
    "llama-index-core", "llama-index-embeddings-openai-like", "langchain-core", "langchain-openai",
    "langchain-text-splitters", "openai", "numpy",
)  # fmt: skip
KINDS = {"nothing but the server of vectors": "network"}
"""Part of an error's name or text → kind of failure of its own."""

BATCH = 64
"""Texts in one request for vectors."""
TIMEOUT_SECONDS = 3600.0
"""A request may wait for a server to start."""


def keep_in(base_url):
    """Let this process reach a server and nothing else, whatever a library would download.

    Returns:
        What was tried, as a list that grows.
    """
    allowed, tried = urlsplit(base_url), []

    def refuse(event, arguments):
        if event == "socket.connect":
            place = arguments[1]
            if isinstance(place, tuple) and place[:2] == (allowed.hostname, allowed.port):
                return
        elif event == "socket.getaddrinfo":
            place = arguments[0]
            if place == allowed.hostname:
                return
        else:
            return
        tried.append(str(place))
        raise PermissionError(f"{place} was to be reached; nothing but the server of vectors may")

    sys.addaudithook(refuse)
    return tried


def llama_index(request, progress):
    """Return chunks and what was found, as LlamaIndex does by default, but for sizes in letters."""
    progress.tell("importing LlamaIndex")
    lay_out_words(Path(sys.argv[1]).parent)
    from llama_index.core import Document, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    server = request["server"]
    documents = [
        Document(text=one["text"], doc_id=str(number))
        for number, one in enumerate(request["documents"])
    ]
    progress.tell("splitting")
    splitter = SentenceSplitter(
        chunk_size=request["chunk_size"],
        chunk_overlap=request["overlap"],
        tokenizer=list,
        # Of equal similarity, the lower name comes first: by chance it would be another each time.
        id_func=lambda number, document: f"{int(document.node_id):08d}-{number:08d}",
    )
    nodes = splitter.get_nodes_from_documents(documents)
    progress.tell("indexing")
    index = VectorStoreIndex(
        nodes,
        embed_model=OpenAILikeEmbedding(
            model_name=server["model"], api_base=server["base_url"], api_key=server["key"],
            embed_batch_size=BATCH, max_retries=0, timeout=TIMEOUT_SECONDS,
        ),
    )  # fmt: skip
    retriever = index.as_retriever(similarity_top_k=request["top_k"])
    numbers = {node.node_id: number for number, node in enumerate(nodes)}
    found = []
    for question in request["questions"]:
        progress.tell("retrieving", len(found), len(request["questions"]), "questions")
        found.append([numbers[one.node.node_id] for one in retriever.retrieve(question)])
    names = [one["name"] for one in request["documents"]]
    chunks = [
        {"document": names[int(node.ref_doc_id)], "text": node.get_content()} for node in nodes
    ]
    return chunks, found


def lay_out_words(folder):
    """Put the word lists that LlamaIndex brings where nltk reads them.

    It refuses files with several links, as installers make them, and LlamaIndex would download
    what it does not find.
    """
    import llama_index.core

    there = Path(llama_index.core.__file__).parent / "_static" / "nltk_cache"
    words = folder / "words"
    shutil.copytree(there / "corpora", words / "corpora")
    (words / "tokenizers" / "punkt_tab").mkdir(parents=True)  # asked for, and not read
    os.environ["NLTK_DATA"] = str(words)


def langchain(request, progress):
    """Return chunks and what was found, as LangChain does by default."""
    progress.tell("importing LangChain")
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import OpenAIEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    server = request["server"]
    progress.tell("splitting")
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=request["chunk_size"], chunk_overlap=request["overlap"]
    )
    chunks = [
        {"document": one["name"], "text": text}
        for one in request["documents"]
        for text in splitter.split_text(one["text"])
    ]
    progress.tell("indexing")
    store = InMemoryVectorStore.from_texts(
        [one["text"] for one in chunks],
        OpenAIEmbeddings(
            model=server["model"], base_url=server["base_url"], api_key=server["key"],
            chunk_size=BATCH, max_retries=0, timeout=TIMEOUT_SECONDS,
            # Else it counts tokens by a vocabulary of OpenAI's, which it would download.
            check_embedding_ctx_length=False,
        ),
        ids=[str(number) for number in range(len(chunks))],
    )  # fmt: skip
    found = []
    for question in request["questions"]:
        progress.tell("retrieving", len(found), len(request["questions"]), "questions")
        near = store.similarity_search(question, k=request["top_k"])
        found.append([int(one.id) for one in near])
    return chunks, found


def retrieve(request, progress):
    """Split, index and find; return what the response says of it."""
    tried = keep_in(request["server"]["base_url"])
    library = {"llama-index": llama_index, "langchain": langchain}[request["library"]]
    chunks, found = library(request, progress)
    return {"chunks": chunks, "found": found, "tried": sorted(set(tried))}


if __name__ == "__main__":
    sys.exit(exchange.main(retrieve, packages=PACKAGES, kinds=KINDS))
