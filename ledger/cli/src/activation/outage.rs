//! What is told of a server that went away: once that it did, and once that it is
//! back, however and whenever the two polls notice it.

/// One of the two polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    Log,
    Output,
}

/// Whether there is an outage, and which polls have not come through since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outage {
    is_told: bool,
    /// What breaks in one of these belongs to the outage that was told of, even
    /// if the other poll has come through already.
    behind: [bool; 2],
}

impl Outage {
    /// A poll broke. Returns whether that is news.
    pub(crate) fn broke(&mut self, poll: Poll) -> bool {
        if self.is_told || self.behind[poll as usize] {
            return false;
        }
        *self = Self { is_told: true, behind: [true; 2] };
        true
    }

    /// A poll was answered. Returns whether that ends an outage.
    pub(crate) fn was_answered(&mut self, poll: Poll) -> bool {
        self.behind[poll as usize] = false;
        std::mem::take(&mut self.is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays what happens to the polls, and returns what is told.
    fn told(happens: &str) -> String {
        let mut outage = Outage::default();
        let mut told = Vec::new();
        for word in happens.split_whitespace() {
            let (poll, what) = word.split_once('-').expect("POLL-WHAT");
            let poll = if poll == "log" { Poll::Log } else { Poll::Output };
            match what {
                "broke" if outage.broke(poll) => told.push("away"),
                "answered" if outage.was_answered(poll) => told.push("back"),
                _ => {}
            }
        }
        told.join(" ")
    }

    #[test]
    fn one_outage_is_told_once_and_the_next_one_again() {
        for (happens, expected) in [
            ("log-answered output-answered", ""),
            ("log-broke log-broke output-broke log-answered output-answered", "away back"),
            ("log-broke log-answered output-broke output-answered", "away back"),
            ("output-broke log-broke output-answered log-broke log-answered", "away back"),
            ("log-broke log-answered log-broke log-answered", "away back away back"),
            (
                "log-broke output-broke log-answered output-answered output-broke output-answered",
                "away back away back",
            ),
        ] {
            assert_eq!(told(happens), expected, "{happens}");
        }
    }
}
