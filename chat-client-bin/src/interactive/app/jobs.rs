//! Applies the results of jobs to the state.

use chat_core::model::ConversationId;

use crate::interactive::actions;
use crate::interactive::mentions::MemberList;
use crate::interactive::script::Script;
use crate::interactive::state::{EndedJob, JobResult, Shown, UnconfirmedCommand};

use super::App;

impl App {
    /// Applies the result of a job that has ended, and prints its failure.
    pub(super) fn job_ended(&mut self, ended: Result<EndedJob, tokio::task::JoinError>) {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.state
                    .show_error(&format!("internal error: a task panicked: {error}"));
                return self.release_input();
            }
        };
        // The job may belong to another line than the one being executed, or to none if an event
        // started it.
        let current_line = self.state.script.as_ref().and_then(Script::line);
        self.set_script_line(ended.line);
        match ended.result {
            Ok(result) if ended.restore_count != self.state.restore_count => self.apply(result.without_ids()),
            Ok(result) => self.apply(result),
            Err(failure) => self.state.show_error(&failure.text),
        }
        self.set_script_line(current_line);
        if ended.releases_input {
            self.release_input();
        }
    }

    fn apply(&mut self, result: JobResult) {
        match result {
            JobResult::Done => {}
            JobResult::Unconfirmed(command) => self.state.ask_to_confirm(command),
            JobResult::Transferred(command) => self.state.end_confirmation(&command),
            JobResult::Left(group) => {
                self.state.end_confirmation(&UnconfirmedCommand::Leave(group));
                self.state.conversations.close_current_if(group);
            }
            JobResult::CanEnter { reference, name, label } => {
                actions::enter(&mut self.state, reference, name, label);
                self.release_input();
            }
            JobResult::CannotEnter(failure) => {
                if let Some(failure) = failure {
                    self.state.show_error(&failure.text);
                }
                // The prompt shows a user which conversation is open. The next lines of a script
                // are meant for the conversation that could not be opened.
                if !self.input.has_editor {
                    self.state.conversations.close_current();
                }
                self.release_input();
            }
            JobResult::NotSent(failure) => {
                self.state.show_error(&failure.text);
                self.release_input();
            }
            JobResult::Shown(shown) => self.record_shown(shown),
            JobResult::FirstMembers { group, list } => self.learn_members(group, &list, true),
            JobResult::FurtherMembers { group, list, text } => {
                self.state.loading_members.remove(&group);
                self.learn_members(group, &list, false);
                if let Some(text) = text {
                    actions::send_now(&mut self.state, text);
                    self.release_input();
                }
            }
            JobResult::Stored {
                label,
                conversation,
                seq,
            } => {
                self.state.set_id(&label, conversation);
                self.state.conversations.record_message(conversation, seq, true);
                let own = self.state.own_messages.as_mut();
                if let Some(line) = own.and_then(|own| own.stored((conversation, seq), self.has_caught_up)) {
                    self.state.screen.line(line);
                }
            }
        }
    }

    /// Records what was printed of a conversation.
    fn record_shown(&mut self, shown: Shown) {
        let Shown {
            label,
            info,
            messages,
            reactions,
            members,
        } = shown;
        self.state.add_to_completion(&info);
        self.state.set_id(&label, info.id);
        if let Some(list) = members {
            self.learn_members(info.id, &list, true);
        }
        for (seq, own) in messages {
            self.state.conversations.record_message(info.id, seq, own);
            self.state.reactions.add_message((info.id, seq));
        }
        for (target, emoji, user, removed) in reactions {
            self.state.reactions.react((info.id, target), &emoji, user, removed);
        }
    }

    /// Records members of a group: the first, or those after the known ones.
    fn learn_members(&mut self, group: ConversationId, list: &MemberList, are_first: bool) {
        if are_first {
            self.state.members.set(group, list);
        } else {
            self.state.members.extend(group, list);
        }
        list.users.iter().for_each(|user| self.state.known.add_user(&user.name));
        self.state.update_member_completion();
    }

    /// Lets input lines be read again if a job held the input. Shows the prompt again in the line
    /// editor.
    fn release_input(&mut self) {
        if std::mem::take(&mut self.state.input_is_held) && self.input.has_editor {
            self.prompt();
        }
    }
}
