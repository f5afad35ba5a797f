#!/usr/bin/env python3
"""An agent made with LangChain. `pip install './sdk/python[langchain]'`, then in agents.json

    {"default": "chain", "agents": {"chain": {"kind": "exec", "mode": "persistent",
        "command": "exec python3 examples/agents/chain.py"}}}

Its model is langchain-core's own for demonstrations: it needs no key, and says what it was
given. Any other goes in its place, `ChatOpenAI(model="…")` of langchain-openai for one."""
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from threadcast.agent import serve
from threadcast.langchain import AsyncThreadcastCallbackHandler

prompt = ChatPromptTemplate.from_messages([("placeholder", "{history}"), ("human", "{question}")])


@tool
def count(text: str) -> int:
    """Counts the words of a text."""
    return len(text.split())


def model(words):
    return GenericFakeChatModel(messages=iter([AIMessage(
        content=f"Here a model would answer. You said {words} words.")]))


async def handle(job):
    config = {"callbacks": [AsyncThreadcastCallbackHandler(job)]}
    words = await count.ainvoke({"text": job.content}, config)
    history = [(m["role"], m["content"]) for m in job.messages if m["role"] in ("user", "assistant")]
    chain = prompt | model(words) | StrOutputParser()
    await chain.ainvoke({"history": history, "question": job.content}, config)


if __name__ == "__main__":
    serve(handle)
