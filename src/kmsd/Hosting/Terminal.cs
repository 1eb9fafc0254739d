using System.Runtime.InteropServices;
using System.Text;

namespace Kmsd.Hosting;

/// <summary>The person at the terminal ended a dialogue: by a word, by Ctrl-C, by hanging up, or by a signal to the process.</summary>
internal sealed class AbandonedException(string message) : Exception(message)
{
    public AbandonedException()
        : this("Abandoned.")
    {
    }
}

/// <summary>
/// The terminal in front of a person, in raw mode, so that secrets go from read(2) into locked memory and from there to
/// write(2): no buffer, no string, no echo but stars. As it was once this is disposed.
/// </summary>
internal sealed unsafe class Terminal : IDisposable
{
    private const int StandardInput = 0;
    private const int PollInMilliseconds = 200;
    private const int LongestLine = 256;
    private const byte Interrupt = 3; // Ctrl-C
    private const byte EndOfFile = 4; // Ctrl-D
    private const byte EraseLine = 21; // Ctrl-U
    private const byte Quit = 28; // Ctrl-\
    private const byte Escape = 27;
    private const byte Delete = 127;

    // Of terminals that went away: the signal that says so may come later than the end of file, and must not end the process
    // before it has told what became of its work.
    private static readonly List<PosixSignalRegistration> s_kept = [];

    private readonly int _descriptor;
    private readonly Libc.TerminalModes _before;
    private readonly List<PosixSignalRegistration> _signals = [];
    private volatile bool _isEnded;
    private bool _isOnScreen;
    private bool _isClosed;

    private Terminal(int descriptor, Libc.TerminalModes before)
    {
        _descriptor = descriptor;
        _before = before;
        foreach (PosixSignal signal in new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP, PosixSignal.SIGQUIT })
        {
            _signals.Add(PosixSignalRegistration.Create(signal, context =>
            {
                context.Cancel = true;
                _isEnded = true;
            }));
        }

        // Stopped, it would leave what is on the screen to whoever comes by.
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGTSTP, context => context.Cancel = true));
    }

    /// <summary>Somebody is there to be asked.</summary>
    public static bool IsThere => Libc.IsTerminal(StandardInput) == 1;

    /// <summary>This terminal can be cleared.</summary>
    public static bool CanBeCleared => Environment.GetEnvironmentVariable("TERM") is { Length: > 0 } and not "dumb";

    /// <exception cref="StartupException">64: nobody is there.</exception>
    public static Terminal Open(string what)
    {
        int descriptor = IsThere ? Libc.Open("/dev/tty", Libc.ReadWriteNoControl) : -1;
        if (descriptor < 0 || Libc.GetTerminalModes(descriptor, out Libc.TerminalModes before) != 0)
        {
            throw new StartupException(ExitCode.Usage, $"{what} asks a person: run it at a terminal (standard input isn't one). Nothing was changed.");
        }

        Libc.TerminalModes raw = before;
        Libc.MakeRaw(ref raw);
        raw.Output |= Libc.ProcessOutput;
        Terminal terminal = new(descriptor, before);
        if (Libc.SetTerminalModes(descriptor, Libc.FlushThenSet, raw) != 0)
        {
            terminal.Dispose();
            throw new StartupException(ExitCode.Internal, $"The terminal can't be set up: {Marshal.GetLastPInvokeErrorMessage()}.");
        }

        return terminal;
    }

    public void WriteLine(string text = "") => Write(text + "\n");

    public void Write(string text) => Write(Encoding.UTF8.GetBytes(text));

    /// <summary>Writes from where the bytes are.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            for (nint at = 0; at < bytes.Length;)
            {
                nint written = Libc.Write(_descriptor, start + at, (nuint)(bytes.Length - at));
                if (written < 0 && Marshal.GetLastPInvokeError() == Libc.InterruptedCall)
                {
                    continue;
                }

                at += written > 0 ? written : throw Closed();
            }
        }
    }

    /// <summary>A line of text, without white space around it.</summary>
    /// <exception cref="AbandonedException">It is the word for that, or there will be no line.</exception>
    public string Ask(string prompt)
    {
        byte[] line = new byte[LongestLine];
        Write(prompt);
        int length = Read(line, isSecret: false, endsAtSpace: false);
        Write("\n"u8);
        string text = Encoding.UTF8.GetString(line, 0, length).Trim();
        return text.Equals("abandon", StringComparison.OrdinalIgnoreCase) ? throw new AbandonedException() : text;
    }

    /// <summary>Reads a secret into locked memory, with a star for each byte.</summary>
    /// <param name="prompt">What is asked.</param>
    /// <param name="destination">In locked memory.</param>
    /// <param name="endsAtSpace">A space ends it too.</param>
    /// <returns>How many bytes it has.</returns>
    /// <exception cref="AbandonedException">Ctrl-C, or there is nobody any more.</exception>
    public int AskSecret(string prompt, Span<byte> destination, bool endsAtSpace)
    {
        Write(prompt);
        return Read(destination, isSecret: true, endsAtSpace);
    }

    /// <summary>What was typed ahead is dropped.</summary>
    public void Forget() => _ = Libc.FlushTerminal(_descriptor, Libc.FlushInput);

    /// <summary>Begins the line anew.</summary>
    public void EraseThisLine() => Write("\r\x1b[K"u8);

    /// <summary>Goes to the cleared alternate screen, which keeps no lines that scroll off.</summary>
    public void EnterScreen()
    {
        _isOnScreen = true;
        Write("\x1b[?1049h\x1b[2J\x1b[3J\x1b[H"u8);
    }

    /// <summary>Nothing of what was shown stays, also on a terminal that has no alternate screen.</summary>
    public void ClearScreen() => Write("\x1b[2J\x1b[3J\x1b[H"u8);

    public void LeaveScreen()
    {
        _isOnScreen = false;
        Write("\x1b[2J\x1b[3J\x1b[H\x1b[?1049l"u8);
    }

    public void Dispose()
    {
        try
        {
            if (_isOnScreen)
            {
                LeaveScreen();
            }
        }
        catch (AbandonedException)
        {
            // The terminal is gone, and its screen with it.
        }

        _ = Libc.SetTerminalModes(_descriptor, Libc.FlushThenSet, _before);
        _ = Libc.Close(_descriptor);
        if (_isClosed)
        {
            s_kept.AddRange(_signals);
            return;
        }

        foreach (PosixSignalRegistration signal in _signals)
        {
            signal.Dispose();
        }
    }

    private AbandonedException Closed()
    {
        _isClosed = true;
        return new AbandonedException("The terminal was closed.");
    }

    private int Read(Span<byte> destination, bool isSecret, bool endsAtSpace)
    {
        int length = 0;
        bool isEscape = false;
        bool isSequence = false;
        while (true)
        {
            // Each byte goes to its place at once; one that is no text is overwritten by the next.
            ref byte key = ref destination[Math.Min(length, destination.Length - 1)];
            ReadKey(ref key);
            if (isEscape || isSequence)
            {
                // Arrow keys and the like: ESC [ … letter.
                isSequence = isEscape ? key is (byte)'[' or (byte)'O' : key is < 0x40 or > 0x7e;
                isEscape = false;
                continue;
            }

            switch (key)
            {
                case (byte)'\r' or (byte)'\n':
                case (byte)' ' when endsAtSpace && length > 0:
                    key = 0;
                    return length;
                case (byte)' ' when endsAtSpace:
                    break;
                case Interrupt or Quit:
                case EndOfFile when length == 0:
                    Write("\n"u8);
                    throw new AbandonedException();
                case Escape:
                    isEscape = true;
                    break;
                case 8 or Delete:
                    length = EraseLast(destination, length, isSecret);
                    break;
                case EraseLine:
                    while (length > 0)
                    {
                        length = EraseLast(destination, length, isSecret);
                    }

                    break;
                case < 0x20:
                    break;
                default:
                    if (length < destination.Length - 1)
                    {
                        Write(isSecret ? "*"u8 : new ReadOnlySpan<byte>(in key));
                        length++;
                    }

                    break;
            }
        }
    }

    private int EraseLast(Span<byte> destination, int length, bool isSecret)
    {
        if (length == 0)
        {
            return 0;
        }

        // All bytes of one character (RFC 3629); of a secret each has its own star.
        do
        {
            length--;
        }
        while (!isSecret && length > 0 && (destination[length] & 0xc0) == 0x80);
        Write("\b \b"u8);
        return length;
    }

    private void ReadKey(ref byte key)
    {
        while (true)
        {
            Libc.PollRequest request = new() { Descriptor = _descriptor, Events = Libc.PollIn };
            int ready = Libc.Poll(ref request, 1, PollInMilliseconds);
            if (_isEnded)
            {
                throw new AbandonedException();
            }

            if (ready <= 0)
            {
                continue;
            }

            fixed (byte* place = &key)
            {
                nint read = Libc.Read(_descriptor, place, 1);
                if (read == 1)
                {
                    return;
                }

                if (read == 0 || Marshal.GetLastPInvokeError() != Libc.InterruptedCall)
                {
                    throw Closed();
                }
            }
        }
    }
}
