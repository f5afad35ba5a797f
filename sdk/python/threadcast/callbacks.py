"""Callbacks for code that wants functions to call, and not a run:

    said = threadcast.callbacks.Callbacks(run)
    my_model.generate(prompt, on_token=said.on_token, on_usage=said.on_usage)

They work on a Run, an AsyncRun and an agent's Job; of the latter two they have to be
awaited. threadcast.langchain stands on them.
"""

from __future__ import annotations

import uuid
from typing import Any, Generic, Mapping, Optional, TypeVar, Union

from ._say import Say

Said = TypeVar("Said")


class Callbacks(Generic[Said]):
    def __init__(self, run: Say[Said]) -> None:
        self.run = run
        self.input_tokens = self.output_tokens = self.total_tokens = 0

    def on_start(self) -> Said:
        """A model was asked, and has not answered yet."""
        return self.run.status("thinking")

    def on_token(self, text: str) -> Said:
        return self.run.token(text)

    def on_reasoning(self, text: str) -> Said:
        return self.run.reasoning(text)

    def on_usage(self, input_tokens: int, output_tokens: int,
                 total_tokens: Optional[int] = None) -> Said:
        """Of one call of a model; readers are told the sum of all calls."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.total_tokens += (input_tokens + output_tokens if total_tokens is None
                              else total_tokens)
        return self.run.usage(self.input_tokens, self.output_tokens, self.total_tokens)

    def on_error(self, error: Optional[BaseException] = None) -> Said:
        """A call of a model failed; somebody may try another. The exception's text is not
        published: it may hold anything. That the run has failed says its block."""
        return self.run.delta("activity", message="The model failed.")

    def on_tool_start(self, name: str, arguments: Union[Mapping[str, Any], str],
                      tool_call_id: Optional[str] = None) -> Said:
        return self.run.tool_call(name, arguments, tool_call_id or str(uuid.uuid4()))

    def on_tool_end(self, tool_call_id: str, result: Any) -> Said:
        return self.run.tool_result(tool_call_id, result)

    def on_tool_error(self, tool_call_id: str,
                      error: Optional[BaseException] = None) -> Said:
        return self.run.tool_result(tool_call_id, "The tool failed.", is_error=True)
