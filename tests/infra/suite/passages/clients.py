"""Asks a live server by the clients of LlamaIndex and LangChain, as their users do.

    python -I clients.py llm|vectors BASE_URL MODEL < key

It runs in the environment of the libraries, and writes one JSON object.
"""

import json
import sys

QUESTION = "Question: What is the capital of France?\nAnswer:"
TEXTS = ["A night in the inn costs 30 euros.", "The lamp is red.", "The inn has 12 rooms."]
ASKED = "What does a night in the inn cost?"


def llm(base_url, model, key):
    """Return what both say to a prompt and to a chat, and what a chain of retrieval says."""
    from langchain_openai import ChatOpenAI, OpenAI
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai_like import OpenAILike

    short = {"temperature": 0.0, "max_tokens": 8}
    theirs = {"model": model, "api_base": base_url, "api_key": key, "max_retries": 0, **short}
    chat = OpenAILike(is_chat_model=True, **theirs)
    ours = {"model": model, "base_url": base_url, "api_key": key, "max_retries": 0, **short}
    message = [ChatMessage(role="user", content=QUESTION)]
    return {
        "llama-index": {
            "completion": OpenAILike(**theirs).complete(QUESTION).text,
            "chat": chat.chat(message).message.content,
            "streamed": "".join(part.delta or "" for part in chat.stream_chat(message)),
        },
        "langchain": {
            "completion": OpenAI(**ours).invoke(QUESTION),
            "chat": ChatOpenAI(**ours).invoke(QUESTION).content,
            "streamed": "".join(str(part.content) for part in ChatOpenAI(**ours).stream(QUESTION)),
        },
    }


def vectors(base_url, model, key):
    """Return the vectors that both are given of texts and of a question."""
    from langchain_openai import OpenAIEmbeddings
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    llama = OpenAILikeEmbedding(model_name=model, api_base=base_url, api_key=key, max_retries=0)
    lang = OpenAIEmbeddings(model=model, base_url=base_url, api_key=key, max_retries=0,
                            check_embedding_ctx_length=False)  # fmt: skip
    return {
        "llama-index": [*llama.get_text_embedding_batch(TEXTS), llama.get_query_embedding(ASKED)],
        "langchain": [*lang.embed_documents(TEXTS), lang.embed_query(ASKED)],
    }


if __name__ == "__main__":
    what, base_url, model = sys.argv[1:]
    ask = {"llm": llm, "vectors": vectors}[what]
    json.dump(ask(base_url, model, sys.stdin.read()), sys.stdout)
