"""`innosystem completion`."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completion of commands and options by the shell's Tab key.

    bash: `source <(innosystem completion bash)` in ~/.bashrc. zsh: `innosystem completion zsh > _innosystem` in a
    folder of $fpath. fish: `innosystem completion fish > ~/.config/fish/completions/innosystem.fish`.

    Args:
        shell: The shell.
    """
    from tools.cli.__main__ import command_line

    print(command_line().generate_completion(shell=shell))
