//! Finds the code in an answer written in Markdown (CommonMark, section 4.5).

use super::Language;

/// The code of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The text inside the fences, or the whole answer where there is no fence.
    pub text: String,
    /// The language that the fence names.
    pub language: Option<Language>,
    /// Whether there was a fence.
    pub fenced: bool,
}

/// The longest fenced block; a block that the answer's end cuts off counts up to there.
pub(super) fn extract(answer: &str) -> Code {
    let longest = blocks(answer).into_iter().max_by_key(|block| block.text.len());
    longest.unwrap_or_else(|| Code { text: answer.trim().to_owned(), language: None, fenced: false })
}

fn blocks(answer: &str) -> Vec<Code> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Code)> = None;
    for line in answer.lines() {
        open = match open.take() {
            Some((fence, block)) if closes(line, fence) => {
                blocks.push(block);
                None
            }
            Some((fence, mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                Some((fence, block))
            }
            None => opening(line),
        };
    }
    blocks.extend(open.map(|(_, block)| block));
    blocks
}

fn opening(line: &str) -> Option<(&str, Code)> {
    let line = line.trim_start();
    let fence_length = line.bytes().take_while(|&byte| byte == b'`' || byte == b'~').count();
    let (fence, info) = line.split_at(fence_length);
    if fence_length < 3 || info.contains('`') {
        return None;
    }
    let language = info.split_whitespace().next().and_then(Language::from_name);
    Some((fence, Code { text: String::new(), language, fenced: true }))
}

fn closes(line: &str, fence: &str) -> bool {
    let line = line.trim();
    line.len() >= fence.len() && line.bytes().all(|byte| fence.as_bytes().first() == Some(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_block_is_the_code() {
        let answer = "Run:\n```sh\nx\n```\nCode:\n```py\ndef f():\n    pass\n```\nDone.";
        let code = extract(answer);
        assert_eq!(
            (code.text.as_str(), code.language, code.fenced),
            ("def f():\n    pass\n", Some(Language::Python), true)
        );
    }

    #[test]
    fn an_answer_without_fence_is_taken_whole() {
        let code = extract("def f(): pass\n");
        assert_eq!((code.text.as_str(), code.fenced), ("def f(): pass", false));
    }

    #[test]
    fn a_block_that_was_cut_off_counts() {
        assert_eq!(extract("```go\npackage x\nfunc").text, "package x\nfunc\n");
    }

    #[test]
    fn a_longer_fence_holds_a_shorter_one() {
        assert_eq!(extract("````md\n```py\nx\n```\n````").text, "```py\nx\n```\n");
    }
}
