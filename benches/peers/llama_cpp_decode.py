"""Prints llama.cpp's tokens per second after the first one: MODEL QUESTION TOKENS THREADS."""

import sys
import time

import llama_cpp

path, question, tokens, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
model = llama_cpp.Llama(path, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
messages = [{"role": "user", "content": question}]
first, count = None, 0
for chunk in model.create_chat_completion(messages, max_tokens=tokens, temperature=0, stream=True):
    if chunk["choices"][0]["delta"].get("content"):
        first = first or time.perf_counter()
        count += 1
print((count - 1) / (time.perf_counter() - first))
