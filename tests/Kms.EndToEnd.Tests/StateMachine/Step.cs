using System.Collections.Immutable;
using System.Text.Json.Nodes;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>One call, and what the model says of it.</summary>
/// <param name="Method">The method.</param>
/// <param name="Parameters">Its params.</param>
/// <param name="Reasons">Why it is refused; several where several causes are there at once. None: it succeeds.</param>
/// <param name="Next">What is true after it, whether it succeeded or was refused.</param>
internal sealed record Step(string Method, JsonObject Parameters, ImmutableArray<string> Reasons, Model Next)
{
    /// <summary>Looks at the answer of a success, and takes note of what the daemon chose: tags, ciphertexts, signatures.</summary>
    public Action<JsonObject> Check { get; init; } = _ => { };

    public override string ToString() =>
        $"{Method} {Parameters.ToJsonString()} → {(Reasons.IsEmpty ? "ok" : string.Join(" or ", Reasons))}";
}

/// <summary>A text that was sealed, and where it opens.</summary>
internal sealed record SealedText(int Key, int Version, byte[] Plaintext, byte[]? Context, string Ciphertext);

/// <summary>A signature, and what it is on.</summary>
internal sealed record SignedText(int Key, int Version, byte[] Message, string Algorithm, string? Encoding, string Signature);

/// <summary>What the daemon chose, and the model can't know.</summary>
internal sealed class Known
{
    private const int MostTexts = 200;

    public Dictionary<int, string> Tags { get; } = [];

    public List<SealedText> Sealed { get; } = [];

    public List<SignedText> Signed { get; } = [];

    public Dictionary<(int Key, int Version), string> PublicKeys { get; } = [];

    /// <summary>Keeps what was sealed; old ones now and then make room.</summary>
    public void Add(SealedText text)
    {
        if (Sealed.Count >= MostTexts)
        {
            Sealed.RemoveAt(MostTexts / 2);
        }

        Sealed.Add(text);
    }

    public void Add(SignedText text)
    {
        if (Signed.Count >= MostTexts)
        {
            Signed.RemoveAt(MostTexts / 2);
        }

        Signed.Add(text);
    }
}
