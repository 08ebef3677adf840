"""Greedy decoding by llama.cpp: the GGUF as it is, all sequences decoded together through llama_decode's batches.

Tried on two cores at 64 sequences: one buffer for all (kv_unified) is 1.5 times slower, keys and values in float32 1.2 times;
flash attention on, off or automatic and smaller batches of prompt tokens make no difference.
"""

import contestant
import llama_cpp
import numpy

task = contestant.task()
PROMPTS, NEW_TOKENS = task["prompts"], task["newTokens"]
SEQUENCES = len(PROMPTS)
BATCH = 2048  # tokens in one call

silence = llama_cpp.llama_log_callback(lambda *_: None)
llama_cpp.llama_log_set(silence, None)
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(task["model"].encode(), llama_cpp.llama_model_default_params())
if not model:
    raise SystemExit(f"llama.cpp does not load {task['model']}")
vocabulary = llama_cpp.llama_model_get_vocab(model)
entries = llama_cpp.llama_vocab_n_tokens(vocabulary)


def tokenize(text):
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocabulary, data, len(data), ids, len(ids), True, False)
    return ids[:count]


settings = llama_cpp.llama_context_default_params()
settings.n_seq_max = SEQUENCES
settings.n_ctx = SEQUENCES * (max(len(tokenize(prompt)) for prompt in PROMPTS) + NEW_TOKENS)
settings.n_batch = BATCH
settings.n_outputs_max = SEQUENCES
settings.n_threads = settings.n_threads_batch = contestant.threads
settings.kv_unified = False
context = llama_cpp.llama_init_from_model(model, settings)
if not context:
    raise SystemExit("llama.cpp makes no context")
memory = llama_cpp.llama_get_memory(context)
batch = llama_cpp.llama_batch_init(BATCH, 0, 1)


def put(token, position, sequence, wanted):
    i = batch.n_tokens
    batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
    batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
    batch.n_tokens = i + 1


def decode(rows):
    """Runs the batch and returns the likeliest token of each of its wanted rows, [rows]."""
    if llama_cpp.llama_decode(context, batch) != 0:
        raise RuntimeError("llama_decode failed")
    batch.n_tokens = 0
    logits = numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (rows, entries))
    return logits.argmax(axis=1).tolist()


def round():
    llama_cpp.llama_memory_clear(memory, False)
    batch.n_tokens = 0
    prompts = [tokenize(prompt) for prompt in PROMPTS]
    replies = []
    waiting = 0
    for sequence, prompt in enumerate(prompts):
        if batch.n_tokens + len(prompt) > BATCH:
            replies += [[token] for token in decode(waiting)]
            waiting = 0
        for position, token in enumerate(prompt):
            put(token, position, sequence, position == len(prompt) - 1)
        waiting += 1
    replies += [[token] for token in decode(waiting)]
    for step in range(NEW_TOKENS - 1):
        for sequence, reply in enumerate(replies):
            put(reply[-1], len(prompts[sequence]) + step, sequence, True)
        for reply, token in zip(replies, decode(SEQUENCES)):
            reply.append(token)
    return {"work": sum(map(len, replies)), "prompt_tokens": sum(map(len, prompts))}


contestant.serve(round)
