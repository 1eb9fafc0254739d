using Kms.Hsm;
using Kmsd.Hosting;

namespace Kmsd.Custody;

/// <summary>What a custodian typed, in locked memory.</summary>
internal sealed class Passphrase : IDisposable
{
    private const int Room = 256;

    private readonly SecretBytes _bytes;
    private readonly int _length;

    private Passphrase(SecretBytes bytes, int length)
    {
        _bytes = bytes;
        _length = length;
    }

    public bool IsLongEnough => _length >= ShareFile.LeastPassphrase;

    /// <exception cref="AbandonedException">Ctrl-C, the word for it, or nobody is there.</exception>
    public static Passphrase Ask(Terminal terminal, string prompt)
    {
        int length = 0;
        SecretBytes bytes = new(Room, room =>
        {
            length = terminal.AskSecret(prompt, room, endsAtSpace: false);
            terminal.WriteLine();
            if (room[..length].SequenceEqual("abandon"u8))
            {
                throw new AbandonedException();
            }
        });
        return new Passphrase(bytes, length);
    }

    public void WriteFile(string path, Slip39Share share)
    {
        using SecretLease lease = _bytes.Open();
        ShareFile.Write(path, share, lease.Bytes[.._length]);
    }

    public Slip39Share ReadFile(string path)
    {
        using SecretLease lease = _bytes.Open();
        return ShareFile.Read(path, lease.Bytes[.._length]);
    }

#pragma warning disable IDISP007 // Made in Ask, it is this one's.
    public void Dispose() => _bytes.Dispose();
#pragma warning restore IDISP007
}
