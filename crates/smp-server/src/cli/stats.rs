//! `sotto-smp stats`.

use anyhow::bail;
use clap::Args;

use super::{Dir, say};
use crate::control::{self, Answer, Request};

#[derive(Args)]
#[command(after_help = "\
Example:
  sotto-smp stats --dir relay --json")]
pub(super) struct Stats {
    #[command(flatten)]
    dir: Dir,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match control::ask(self.dir.paths().run(), &Request::Stats).await? {
            Answer::Stats(figures) if self.json => say(serde_json::to_string(&figures)?)?,
            Answer::Stats(figures) => {
                for (_, meaning, value) in figures.rows() {
                    say(format_args!("{value:>12}  {meaning}"))?;
                }
            }
            Answer::Failed { error } => bail!(error),
            Answer::Done => bail!("the relay's answer can't be read: is it another version?"),
        }
        Ok(())
    }
}
