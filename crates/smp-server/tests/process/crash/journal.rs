//! What was sent to one queue and what became of it, as its sender and its recipient know it.

/// What the sender knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// On its way.
    Asked,
    /// Answered with OK.
    Accepted,
    /// Answered with QUOTA.
    Refused,
    /// Not answered: the relay may have it or not.
    Unsure,
}

/// Messages are numbered, and each is sent once, so that they come in order, if at all.
#[derive(Default)]
pub(super) struct Journal {
    fates: Vec<Fate>,
    received: Vec<bool>,
    /// The last that came.
    last: Option<usize>,
    /// The last whose ACK was answered.
    acknowledged: Option<usize>,
    /// Messages that came once more, since their ACK was not answered.
    pub(super) repeated: u64,
}

/// What may not be.
pub(super) type Checked = Result<(), String>;

impl Journal {
    /// The number of the next message.
    pub(super) fn ask(&mut self) -> usize {
        self.fates.push(Fate::Asked);
        self.received.push(false);
        self.fates.len() - 1
    }

    pub(super) fn accepted(&mut self, number: usize) -> Checked {
        self.fates[number] = Fate::Accepted;
        let passed = self.last.is_some_and(|last| last > number);
        if passed && !self.received[number] {
            return Err(format!(
                "message {number} was accepted, yet a later one came first"
            ));
        }
        Ok(())
    }

    pub(super) fn refused(&mut self, number: usize) -> Checked {
        self.fates[number] = Fate::Refused;
        if self.received[number] {
            return Err(format!("message {number} was refused, yet it came"));
        }
        Ok(())
    }

    pub(super) fn unsure(&mut self, number: usize) {
        self.fates[number] = Fate::Unsure;
    }

    pub(super) fn receive(&mut self, number: usize) -> Checked {
        let Some(fate) = self.fates.get(number) else {
            return Err(format!("message {number} was never sent"));
        };
        if *fate == Fate::Refused {
            return Err(format!("message {number} was refused, yet it came"));
        }
        if self.acknowledged.is_some_and(|last| number <= last) {
            return Err(format!("message {number} came again after its ACK"));
        }
        match self.last {
            Some(last) if number < last => {
                return Err(format!("message {number} came after {last}"));
            }
            Some(last) if number == last => self.repeated += 1,
            _ => {}
        }
        let next = self.last.map_or(0, |last| last + 1);
        self.last = Some(number);
        self.received[number] = true;
        let lost = |number: &usize| self.fates[*number] == Fate::Accepted;
        match (next..number).find(lost) {
            Some(lost) => Err(format!("message {lost} was accepted and is lost")),
            None => Ok(()),
        }
    }

    pub(super) fn acknowledged(&mut self, number: usize) {
        self.acknowledged = Some(number);
    }

    /// Whether the last message came and was acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.acknowledged.is_some() && self.acknowledged == self.fates.len().checked_sub(1)
    }

    /// Messages that were accepted, of those the unsure ones that were stored, and the refused.
    pub(super) fn counts(&self) -> [u64; 4] {
        let count = |fate: Fate, received: Option<bool>| {
            let fates = self.fates.iter().zip(&self.received);
            let these = fates.filter(|(one, came)| {
                **one == fate && received.is_none_or(|received| received == **came)
            });
            these.count() as u64
        };
        [
            count(Fate::Accepted, None),
            count(Fate::Unsure, None),
            count(Fate::Unsure, Some(true)),
            count(Fate::Refused, None),
        ]
    }
}

#[test]
fn a_journal_tells_loss_repetition_and_disorder() {
    let mut journal = Journal::default();
    for number in 0..5 {
        assert_eq!(journal.ask(), number);
    }
    journal.accepted(0).unwrap();
    journal.unsure(1);
    journal.accepted(2).unwrap();
    journal.receive(0).unwrap();
    journal.acknowledged(0);
    assert!(journal.receive(0).unwrap_err().contains("again"));
    // The unsure one did not come, which may be; it may not come later.
    journal.receive(2).unwrap();
    journal.receive(2).unwrap();
    assert_eq!(journal.repeated, 1);
    assert!(journal.receive(1).unwrap_err().contains("after"));
    journal.acknowledged(2);
    journal.refused(3).unwrap();
    assert!(journal.receive(3).unwrap_err().contains("refused"));
    assert!(journal.receive(5).unwrap_err().contains("never"));
    journal.receive(4).unwrap();
    assert!(!journal.is_done());
    journal.acknowledged(4);
    assert!(journal.is_done());
    let mut journal = Journal::default();
    journal.ask();
    journal.ask();
    journal.accepted(0).unwrap();
    assert!(journal.receive(1).unwrap_err().contains("lost"));
    let mut journal = Journal::default();
    journal.ask();
    journal.ask();
    journal.receive(1).unwrap();
    assert!(journal.accepted(0).unwrap_err().contains("later"));
}
