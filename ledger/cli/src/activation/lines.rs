//! Bytes in pieces become whole lines.

/// Bytes of a line that is shown at once; a longer one is shown in parts.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The line that has begun and not ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes some bytes and returns the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ends) = match piece.split_last() {
                Some((b'\n', rest)) => (rest, true),
                _ => (piece, false),
            };
            self.partial.extend_from_slice(piece);
            while self.partial.len() > LINE_BYTES_MAX {
                let rest = self.partial.split_off(character_boundary(&self.partial));
                lines.push(text(&std::mem::replace(&mut self.partial, rest)));
            }
            if ends {
                lines.push(text(&std::mem::take(&mut self.partial)));
            }
        }
        lines
    }

    /// Returns what never got its end, when nothing more will come.
    pub(crate) fn flush(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.is_empty()).then(|| text(&rest))
    }
}

/// Returns where a long line may be cut without cutting a character.
fn character_boundary(bytes: &[u8]) -> usize {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(|at| !continues(*at)).unwrap_or(LINE_BYTES_MAX)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_come() {
        let text = "one\n\ntwø\nthree".as_bytes();
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut shown = lines.push(&text[..cut]);
            shown.extend(lines.push(&text[cut..]));
            assert_eq!(shown, ["one", "", "twø"], "cut at {cut}");
            assert_eq!(lines.flush().as_deref(), Some("three"));
            assert_eq!(lines.flush(), None);
        }
    }

    #[test]
    fn a_line_without_end_is_shown_in_parts() {
        let mut lines = Lines::default();
        let long = "é".repeat(LINE_BYTES_MAX);
        let mut shown = lines.push(b"x");
        shown.extend(lines.push(long.as_bytes()));
        shown.extend(lines.flush());
        assert!(shown.len() > 1 && shown.iter().all(|line| line.len() <= LINE_BYTES_MAX));
        assert_eq!(shown.concat(), format!("x{long}"));
    }
}
