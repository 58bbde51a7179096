//! The commands, as an operator types them.

mod block;
mod check;
mod init;
mod start;

use crate::support::{run, sotto_smp};

#[tokio::test]
async fn the_help_of_every_command_shows_an_example() {
    for command in [
        &[][..],
        &["init"],
        &["start"],
        &["cert"],
        &["cert", "rotate"],
        &["check"],
        &["stats"],
        &["block"],
        &["unblock"],
    ] {
        let arguments = command.iter().chain(&["--help"]);
        let help = run(&mut sotto_smp(arguments)).await.succeeded().stdout;
        let example = format!("Example:\n  sotto-smp {}", command.join(" "));
        assert!(help.contains(&example), "{command:?}: {help}");
    }
}

#[tokio::test]
async fn a_wrong_option_is_named() {
    let wrong = run(&mut sotto_smp(["start", "--fast"])).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("--fast"), "{wrong:?}");
}
