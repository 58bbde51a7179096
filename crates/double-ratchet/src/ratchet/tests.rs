//! Tests that look inside the ratchet.

mod agent;
mod conversations;
mod forgeries;
mod golden;
mod knowledge;
mod peers;
mod recorded;
mod seeded;
mod stored;
