//! "Recipient commands".

mod create_queue;
mod ending;
mod keys;
mod links;
mod messages;
mod notifications;
mod state;
mod subscribe;
