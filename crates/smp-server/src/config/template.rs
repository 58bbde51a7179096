//! The configuration that `sotto-smp init` writes.

use smp_protocol::{BasicAuth, Host};

const TEMPLATE: &str = include_str!("template.toml");

/// `sotto-smp.toml` with every option, for a relay under these names.
pub(crate) fn template(hosts: &[Host], port: u16, password: Option<&BasicAuth>) -> String {
    let hosts: Vec<String> = hosts
        .iter()
        .map(|host| toml_string(&host.to_string()))
        .collect();
    let password = match password {
        Some(password) => format!("password = {}", toml_string(password.as_str())),
        None => "# password = \"…\"".to_owned(),
    };
    TEMPLATE
        .replace("{hosts}", &format!("[{}]", hosts.join(", ")))
        .replace("{port}", &port.to_string())
        .replace("{password}", &password)
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn filled() -> String {
        template(
            &["relay.example.org".parse().unwrap()],
            5223,
            Some(&"secret".parse().unwrap()),
        )
    }

    #[test]
    fn the_template_is_the_default_configuration() {
        let config: Config = toml::from_str(&filled()).unwrap();
        assert_eq!(config.hosts, ["relay.example.org"]);
        assert!(config.queues.password.is_some());
        assert_eq!(config.problem(), None);
    }

    #[test]
    fn every_commented_option_is_one_and_shows_its_default() {
        let filled = filled();
        let all: String = filled
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(option)
                    if option
                        .split_once(" = ")
                        .is_some_and(|(name, _)| is_name(name)) =>
                {
                    format!("{option}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let with_all: Config = toml::from_str(&all).unwrap();
        let defaults: Config = toml::from_str("hosts = [\"relay.example.org\"]").unwrap();
        assert_eq!(
            format!("{:?}", with_all.limits),
            format!("{:?}", defaults.limits)
        );
        assert_eq!(
            format!("{:?}", with_all.messages),
            format!("{:?}", defaults.messages)
        );
        assert_eq!(
            format!("{:?}", with_all.storage),
            format!("{:?}", defaults.storage)
        );
        assert_eq!(
            format!("{:?}", with_all.listen),
            format!("{:?}", defaults.listen)
        );
    }

    fn is_name(text: &str) -> bool {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    }
}
