//! What servers of several kinds say to a chat about Paris, each in its own way: they call the tool `look` if there is one, and answer when they know what
//! it gave.

/// The name of the model that is served as vLLM serves one.
pub const VLLM_MODEL: &str = "vllm-coder";

/// The name of the model that is served as Anthropic serves one.
pub const ANTHROPIC_MODEL: &str = "claude-coder";

const TOKENS: [&str; 6] = ["Paris", " is", " the", " capital", " of", " France."];
/// A tool's arguments, cut as servers cut them.
const ARGUMENTS: [&str; 3] = ["{\\\"city\\\": ", "\\\"Paris", "\\\"}"];

/// Content type and content of the answer to a request; nothing for what is none of theirs.
pub(super) fn answer(path: &str, body: &str) -> Option<(&'static str, String)> {
    let is_streamed = body.contains("\"stream\":true");
    let calls_tool = body.contains("\"tools\":[") && !body.contains("It is the capital.");
    match path {
        "/api/chat" if is_streamed => Some(("application/x-ndjson", ollama(calls_tool))),
        "/api/chat" => Some(("application/json; charset=utf-8", ollama_whole(calls_tool))),
        "/v1/chat/completions" if !body.contains(VLLM_MODEL) => None,
        "/v1/chat/completions" if is_streamed => Some(("text/event-stream; charset=utf-8", vllm(calls_tool))),
        "/v1/chat/completions" => Some(("application/json", vllm_whole(calls_tool))),
        "/v1/messages" if is_streamed => Some(("text/event-stream; charset=utf-8", anthropic(calls_tool))),
        "/v1/messages" => Some(("application/json", anthropic_whole(calls_tool))),
        _ => None,
    }
}

fn anthropic_whole(calls_tool: bool) -> String {
    let (block, reason) = if calls_tool {
        (
            r#"{"type":"tool_use","id":"toolu_1","name":"look","input":{"city":"Paris"}}"#.to_owned(),
            "tool_use",
        )
    } else {
        (format!(r#"{{"type":"text","text":"{}"}}"#, TOKENS.concat()), "end_turn")
    };
    format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"{ANTHROPIC_MODEL}","content":[{block}],"stop_reason":"{reason}","stop_sequence":null,"usage":{{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":6}}}}"#
    )
}

fn anthropic(calls_tool: bool) -> String {
    let event = |name: &str, more: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{more}}}\n\n");
    let delta = |delta: &str| event("content_block_delta", &format!(r#","index":0,"delta":{{{delta}}}"#));
    let message = format!(
        r#","message":{{"id":"msg_1","type":"message","role":"assistant","model":"{ANTHROPIC_MODEL}","content":[],"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":9,"output_tokens":1}}}}"#
    );
    let mut stream = event("message_start", &message);
    let reason = if calls_tool {
        let block =
            r#","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"look","input":{}}"#;
        stream += &event("content_block_start", block);
        stream += &event("ping", "");
        for piece in ARGUMENTS {
            stream += &delta(&format!(r#""type":"input_json_delta","partial_json":"{piece}""#));
        }
        "tool_use"
    } else {
        stream += &event("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#);
        for token in TOKENS {
            stream += &delta(&format!(r#""type":"text_delta","text":"{token}""#));
        }
        "end_turn"
    };
    stream += &event("content_block_stop", r#","index":0"#);
    let end = format!(
        r#","delta":{{"stop_reason":"{reason}","stop_sequence":null}},"usage":{{"output_tokens":6}}"#
    );
    stream += &event("message_delta", &end);
    stream + &event("message_stop", "")
}

fn vllm_whole(calls_tool: bool) -> String {
    let (message, reason) = if calls_tool {
        let call = r#"{"id":"chatcmpl-tool-1","type":"function","function":{"name":"look","arguments":"{\"city\": \"Paris\"}"}}"#;
        (format!(r#""content":null,"tool_calls":[{call}]"#), "tool_calls")
    } else {
        (format!(r#""content":"{}","tool_calls":[]"#, TOKENS.concat()), "stop")
    };
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"{VLLM_MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning_content":null,{message}}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null}}],"service_tier":null,"system_fingerprint":null,"usage":{USAGE},"prompt_logprobs":null,"prompt_token_ids":null,"kv_transfer_params":null}}"#
    )
}

const USAGE: &str =
    r#"{"prompt_tokens":9,"total_tokens":15,"completion_tokens":6,"prompt_tokens_details":null}"#;

fn vllm(calls_tool: bool) -> String {
    let chunk = |choices: &str, more: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"{VLLM_MODEL}","choices":[{choices}]{more}}}"#
        ) + "\n\n"
    };
    let choice = |delta: &str, reason: &str| {
        let choice = format!(
            r#"{{"index":0,"delta":{{{delta}}},"logprobs":null,"finish_reason":{reason},"token_ids":null}}"#
        );
        chunk(&choice, "")
    };
    let mut stream = choice(r#""role":"assistant","content":"""#, "null");
    if calls_tool {
        stream += &choice(
            r#""tool_calls":[{"id":"chatcmpl-tool-1","type":"function","index":0,"function":{"name":"look","arguments":""}}]"#,
            "null",
        );
        for piece in ARGUMENTS {
            stream += &choice(
                &format!(r#""tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]"#),
                "null",
            );
        }
        stream += &choice(r#""content":"""#, "\"tool_calls\"");
    } else {
        for token in TOKENS {
            stream += &choice(&format!(r#""content":"{token}""#), "null");
        }
        stream += &choice(r#""content":"""#, "\"stop\"");
    }
    stream += &chunk("", &format!(r#","usage":{USAGE}"#));
    stream + "data: [DONE]\n\n"
}

fn ollama_line(message: &str, more: &str) -> String {
    format!(
        r#"{{"model":"ollama-coder","created_at":"2026-01-01T00:00:00.000000000Z","message":{{"role":"assistant",{message}}},{more}}}"#
    ) + "\n"
}

const OLLAMA_CALL: &str = r#""content":"","tool_calls":[{"id":"call_1","function":{"index":0,"name":"look","arguments":{"city":"Paris"}}}]"#;
const OLLAMA_END: &str = r#""done":true,"done_reason":"stop","total_duration":9,"load_duration":1,"prompt_eval_count":9,"prompt_eval_duration":1,"eval_count":6,"eval_duration":1"#;

fn ollama_whole(calls_tool: bool) -> String {
    let text = format!(r#""content":"{}""#, TOKENS.concat());
    ollama_line(if calls_tool { OLLAMA_CALL } else { &text }, OLLAMA_END)
}

fn ollama(calls_tool: bool) -> String {
    let mut stream = String::new();
    if calls_tool {
        stream += &ollama_line(OLLAMA_CALL, r#""done":false"#);
    } else {
        for token in TOKENS {
            stream += &ollama_line(&format!(r#""content":"{token}""#), r#""done":false"#);
        }
    }
    stream + &ollama_line(r#""content":"""#, OLLAMA_END)
}
