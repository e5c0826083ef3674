"""Drives a service with the official OpenAI SDK, unchanged: OPENAI_BASE_URL and OPENAI_API_KEY name it."""

import openai

client = openai.OpenAI(max_retries=0, timeout=600)
MODEL = "coder"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def refused(kind, call):
    try:
        call()
    except kind as error:
        assert error.message and isinstance(error.body, dict), error
        return
    raise AssertionError(f"no {kind.__name__}")


def models_are_listed():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def a_chat_is_answered():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=40, temperature=0)
    assert "Paris" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop", answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def a_chat_is_streamed():
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=40, temperature=0, stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text and len(chunks) > 4, text
    assert chunks[-1].usage.completion_tokens > 0


def a_wrong_key_is_an_authentication_error():
    stranger = openai.OpenAI(api_key="wrong", max_retries=0)
    refused(openai.AuthenticationError, lambda: stranger.models.list())


def a_key_may_be_asked_for_before_each_request():
    """Tokens are short-lived: a program gives the SDK a function, and need not make a new client."""
    asked = []
    fresh = openai.OpenAI(api_key=lambda: asked.append(1) or client.api_key, max_retries=0)
    fresh.models.list()
    fresh.models.list()
    assert len(asked) == 2, asked


def an_unknown_model_is_a_not_found_error():
    refused(openai.NotFoundError, lambda: client.chat.completions.create(model="ghost", messages=MESSAGES))
    refused(openai.NotFoundError, lambda: client.models.retrieve("ghost"))


def a_bad_body_is_a_bad_request_error():
    refused(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=[]))
    refused(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=9))


for check in [
    models_are_listed,
    a_chat_is_answered,
    a_chat_is_streamed,
    a_wrong_key_is_an_authentication_error,
    a_key_may_be_asked_for_before_each_request,
    an_unknown_model_is_a_not_found_error,
    a_bad_body_is_a_bad_request_error,
]:
    check()
    print("ok", check.__name__)
