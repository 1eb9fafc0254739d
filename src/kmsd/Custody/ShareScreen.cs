using System.Globalization;
using Kms.Hsm;
using Kmsd.Hosting;

namespace Kmsd.Custody;

/// <summary>Words of a share on a screen of their own, shown and typed. Nothing of them is anywhere once the screen is left.</summary>
internal sealed class ShareScreen(Terminal terminal)
{
    /// <summary>How many words a share of a root key has (SLIP-39, 256 bits).</summary>
    public static readonly int WordCount = Slip39Share.WordsOf(RootSecret.Length);

    private const int Columns = 3;
    private const int CellWidth = 15;
    private const int LongestTyped = 17;

    /// <summary>Says what is wrong with the word that was typed; null: nothing.</summary>
    /// <param name="index">From 0.</param>
    /// <param name="letters">In locked memory.</param>
    private delegate string? Check(int index, ReadOnlySpan<byte> letters);

    /// <summary>Shows a share to its custodian, who writes it down, and then reads back what he wrote.</summary>
    /// <param name="share">Stays the caller's.</param>
    /// <param name="heading">Whose it is.</param>
    /// <exception cref="AbandonedException">He ended it.</exception>
    public void HandOver(Slip39Share share, string heading)
    {
        using SecretBytes text = share.ToText();
        terminal.EnterScreen();
        Show(text, heading);
        BeginTyping(heading);
        using Slip39Share typed = Read(
            (index, letters) => Slip39Words.Find(letters) == WordAt(text, index) ? null : string.Create(
                CultureInfo.InvariantCulture, $"Word {index + 1} isn't the one that was shown. Look at what you wrote, and type word {index + 1} again."),
            () =>
            {
                terminal.ClearScreen();
                Show(text, heading);
                BeginTyping(heading);
            });
        terminal.LeaveScreen();
        if (!AreSame(share, typed))
        {
            throw new InvalidOperationException("The words are those that were shown, and yet another share.");
        }
    }

    /// <summary>Reads a share from its custodian; the caller owns it.</summary>
    /// <exception cref="AbandonedException">He ended it.</exception>
    public Slip39Share Read(string heading)
    {
        terminal.EnterScreen();
        while (true)
        {
            terminal.WriteLine($"{heading}: type the words from the medium.");
            terminal.WriteLine("The first 4 letters of a word are enough.");
            try
            {
                Slip39Share share = Read(
                    (index, letters) => Slip39Words.Find(letters) >= 0 ? null : string.Create(
                        CultureInfo.InvariantCulture, $"Word {index + 1} is no word of a share. Type word {index + 1} again."),
                    showAgain: null);
                terminal.LeaveScreen();
                return share;
            }
            catch (ShareException exception)
            {
                terminal.ClearScreen();
                terminal.WriteLine(exception.Message);
            }
        }
    }

    /// <summary>The same share of the same set, bit by bit.</summary>
    public static bool AreSame(Slip39Share one, Slip39Share other)
    {
        using SecretLease first = one.Value.Open();
        using SecretLease second = other.Value.Open();
        return one.Header == other.Header && System.Security.Cryptography.CryptographicOperations.FixedTimeEquals(first.Bytes, second.Bytes);
    }

    private void BeginTyping(string heading)
    {
        terminal.WriteLine($"{heading}: type the words from the medium.");
        terminal.WriteLine("The first 4 letters of a word are enough; 'show' shows the words again.");
    }

    private void Show(SecretBytes text, string heading)
    {
        terminal.WriteLine($"{heading}.");
        terminal.WriteLine();
        int rows = (WordCount + Columns - 1) / Columns;
        using (SecretBytes table = new(rows * ((Columns * CellWidth) + 1), room => Lay(text, room)))
        {
            using SecretLease lease = table.Open();
            terminal.Write(lease.Bytes);
        }

        terminal.WriteLine();
        terminal.WriteLine($"Write these {WordCount} words on the medium, in this order.");
        _ = terminal.Ask("Then press Enter: the words go, and you type them from the medium. ");
        terminal.ClearScreen();
    }

    /// <summary>Number and word, from left to right and downwards.</summary>
    private static void Lay(SecretBytes text, Span<byte> room)
    {
        room.Fill((byte)' ');
        for (int index = 0; index < WordCount; index++)
        {
            int row = index / Columns;
            Span<byte> cell = room.Slice((row * ((Columns * CellWidth) + 1)) + (index % Columns * CellWidth), CellWidth);
            int number = index + 1;
            cell[2] = number >= 10 ? (byte)('0' + (number / 10)) : (byte)' ';
            cell[3] = (byte)('0' + (number % 10));
            Slip39Words.Letters(WordAt(text, index)).CopyTo(cell[5..]);
        }

        for (int end = Columns * CellWidth; end < room.Length; end += (Columns * CellWidth) + 1)
        {
            room[end] = (byte)'\n';
        }
    }

    private static int WordAt(SecretBytes text, int index)
    {
        using SecretLease lease = text.Open();
        int start = 0;
        for (int word = 0; word < index; word++)
        {
            start += lease.Bytes[start..].IndexOf((byte)' ') + 1;
        }

        int length = lease.Bytes[start..].IndexOf((byte)' ');
        return Slip39Words.Find(length < 0 ? lease.Bytes[start..] : lease.Bytes.Slice(start, length));
    }

    private Slip39Share Read(Check check, Action? showAgain)
    {
        using SecretBytes typed = new(WordCount * LongestTyped, room =>
        {
            room.Fill((byte)' ');
            for (int index = 0; index < WordCount;)
            {
                Span<byte> place = room.Slice(index * LongestTyped, LongestTyped);
                int length = terminal.AskSecret(string.Create(CultureInfo.InvariantCulture, $"Word {index + 1} of {WordCount}: "), place, endsAtSpace: true);
                terminal.EraseThisLine();
                if (place[..length].SequenceEqual("abandon"u8))
                {
                    throw new AbandonedException();
                }

                bool isShow = showAgain is not null && place[..length].SequenceEqual("show"u8);
                string? complaint = length == 0 || isShow ? null : check(index, place[..length]);
                if (length > 0 && !isShow && complaint is null)
                {
                    place[length..].Fill((byte)' ');
                    index++;
                    continue;
                }

                place.Fill((byte)' ');
                if (isShow)
                {
                    showAgain!();
                }
                else if (complaint is not null)
                {
                    terminal.Forget();
                    terminal.WriteLine(complaint);
                }
            }
        });
        using SecretLease lease = typed.Open();
        return Slip39Share.Parse(lease.Bytes);
    }
}
