"""Leaves it to the service which model answers, with the official OpenAI SDK: SMALL says yes whatever it is asked, LARGE writes code."""

import os

import openai

client = openai.OpenAI(max_retries=0, timeout=600)
SECRET = "AKIA" + "IOSFODNN7EXAMPLE"


def asked(text, **more):
    return client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": text}], max_tokens=120, temperature=0, **more
    )


def route(raw):
    return dict(part.split("=") for part in raw.headers["x-codecrucible-route"].split("; ") if "=" in part)


# What is easy, the small one answers, whatever that is.
easy = asked("Is it?")
assert route(easy)["model"] == os.environ["SMALL"], easy.headers
assert easy.parse().choices[0].message.content == "Yes."

# Code was asked for and not given, so the large one is asked too.
between = asked("Write a Python function add(a, b) that has no race.")
told = route(between)
assert (told["model"], told["short"], told["attempts"]) == (os.environ["LARGE"], "no_code", "2"), told
assert "def add" in between.parse().choices[0].message.content, between.text

# A stream cannot be taken back, and goes to one of them.
stream = asked("Is it a race?", stream=True)
assert route(stream)["model"] in (os.environ["SMALL"], os.environ["LARGE"])
stream.http_response.close()

assert "auto" in [model.id for model in client.models.list()]

# No backend reads a secret.
redacted = asked(f"Is {SECRET} right?")
assert redacted.headers["x-codecrucible-redacted"] == "aws-access-key"
print("automatic with the OpenAI SDK", openai.__version__)
