//! [`SentTexts`]: the last text to each conversation, whose outcome may not be known yet.

use std::time::Duration;

use chat_core::model::{ConversationId, ConversationRef, Seq};
use tokio::sync::watch;

use crate::failure::Failure;

use super::conversations::CurrentConversation;

/// Maximum time for which an edit or recall of the last text waits for the number of the text.
const NUMBER_TIMEOUT: Duration = Duration::from_secs(2);

/// The last text of the user to each conversation, until it is stored. A command that changes "the
/// last message" means this text, and must not change an older message in its place.
#[derive(Debug, Default)]
pub(super) struct SentTexts {
    texts: Vec<SentText>,
}

/// A text that was sent.
#[derive(Clone, Debug)]
pub(super) struct SentText {
    reference: ConversationRef,
    /// Name of the conversation in the prompt.
    label: String,
    /// Number of the message once it is stored. The sender is dropped when the job that sends the
    /// text ends; without a number, the text was refused, or its outcome is unknown.
    number: watch::Receiver<Option<Seq>>,
}

impl SentTexts {
    /// Records that a text is being sent, in place of the former text to the conversation. The
    /// caller sends the number of the text once it is stored, and drops the sender in any case.
    pub(super) fn add(&mut self, reference: &ConversationRef, label: &str) -> watch::Sender<Option<Seq>> {
        let (sender, number) = watch::channel(None);
        self.texts
            .retain(|text| text.number.borrow().is_none() && !text.is_to(reference, label));
        self.texts.push(SentText {
            reference: reference.clone(),
            label: label.to_owned(),
            number,
        });
        sender
    }

    /// Returns the last text to this conversation, unless it is stored.
    pub(super) fn last_unstored(&self, current: &CurrentConversation) -> Option<SentText> {
        let mut texts = self.texts.iter();
        let text = texts.find(|text| text.is_to(&current.reference, &current.label))?;
        let is_stored = text.number.borrow().is_some();
        (!is_stored).then(|| text.clone())
    }

    /// Records the id of the conversation with this label, so that its texts are found by the id
    /// even if the conversation is renamed.
    pub(super) fn set_id(&mut self, label: &str, id: ConversationId) {
        // A text that was sent by id belongs to the conversation that had the label before.
        let texts = self.texts.iter_mut();
        for text in texts.filter(|text| text.label == label && text.reference.is_by_name()) {
            text.reference = ConversationRef::Id(id);
        }
    }

    /// Forgets all texts, because message numbers may denote other messages now.
    pub(super) fn clear(&mut self) {
        self.texts.clear();
    }
}

impl SentText {
    /// Returns whether the text was sent to this conversation. The two references differ if the
    /// conversation was addressed by name then and by id now; the two labels differ if it was
    /// renamed since.
    fn is_to(&self, reference: &ConversationRef, label: &str) -> bool {
        self.reference == *reference || self.label == label
    }

    /// Waits for at most 2 s until the text is stored, and returns its number.
    ///
    /// # Errors
    /// The text was not stored, is not stored yet, or it is unknown whether it was stored.
    pub(super) async fn number(mut self) -> Result<Seq, Failure> {
        let number = async {
            self.number
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|number| *number)
        };
        match tokio::time::timeout(NUMBER_TIMEOUT, number).await {
            Ok(Some(number)) => Ok(number),
            Ok(None) => Err(Failure::usage(format!(
                "your last message to {} was not stored, or it is not known whether it was; give the number of the message \
                 that you mean",
                self.label
            ))),
            Err(_) => Err(Failure::usage(format!(
                "your last message to {} is not stored yet; wait for its number, or give that of another message",
                self.label
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::model::{UserName, UserRef};

    use super::*;
    use crate::interactive::conversations::Conversations;

    fn direct() -> ConversationRef {
        ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap()))
    }

    fn current(reference: ConversationRef, label: &str) -> CurrentConversation {
        let mut conversations = Conversations::default();
        conversations.enter(reference, None, label.to_owned());
        conversations.current.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn last_text_is_the_target_until_it_is_stored() {
        let mut texts = SentTexts::default();
        let by_id = current(ConversationRef::Id(ConversationId(7)), "bob");
        assert!(texts.last_unstored(&by_id).is_none());
        let first = texts.add(&direct(), "bob");
        let second = texts.add(&direct(), "bob");
        first.send_replace(Some(Seq(1)));
        let text = texts.last_unstored(&by_id).expect("the second text is not stored");
        assert!(texts.last_unstored(&current(direct(), "robert")).is_some(), "renamed");
        let waiting = text.clone().number().await;
        assert!(waiting.unwrap_err().text.contains("not stored yet"));
        second.send_replace(Some(Seq(2)));
        assert_eq!(text.number().await.unwrap(), Seq(2));
        assert!(texts.last_unstored(&by_id).is_none());
    }

    #[test]
    fn unstored_text_is_found_after_the_conversation_got_an_id_and_another_name() {
        let mut texts = SentTexts::default();
        let _number = texts.add(&direct(), "bob");
        texts.set_id("bob", ConversationId(7));
        let renamed = current(ConversationRef::Id(ConversationId(7)), "robert");
        assert!(texts.last_unstored(&renamed).is_some());
        let other = current(ConversationRef::Id(ConversationId(8)), "carol");
        assert!(texts.last_unstored(&other).is_none());
        texts.set_id("bob", ConversationId(9));
        assert!(texts.last_unstored(&renamed).is_some(), "another user has the name now");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_text_is_not_replaced_by_an_older_message() {
        let mut texts = SentTexts::default();
        drop(texts.add(&direct(), "bob"));
        let text = texts.last_unstored(&current(direct(), "bob")).unwrap();
        assert!(text.number().await.unwrap_err().text.contains("not known whether"));
        texts.add(&direct(), "bob").send_replace(Some(Seq(3)));
        assert!(texts.last_unstored(&current(direct(), "bob")).is_none());
    }
}
