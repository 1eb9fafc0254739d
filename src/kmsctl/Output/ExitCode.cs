namespace Kmsctl.Output;

/// <summary>How the console ends (sysexits.h where it has a name for it). <c>packaging/man/kmsctl.1</c> lists them.</summary>
internal static class ExitCode
{
    public const int Ok = 0;
    public const int No = 1; // verify: the signature isn't the key's, the history not as it was written; doctor: something was found
    public const int NotConfirmed = 2; // a question was answered with no
    public const int Refused = 10; // + the number of the daemon's error, 1 to 12
    public const int Integrity = Refused + (int)Kms.Client.Protocol.KmsErrorCode.IntegrityFailure;
    public const int Usage = 64;
    public const int BadData = 65;
    public const int NoInput = 66;
    public const int Unreachable = 69;
    public const int Internal = 70;
    public const int CannotCreate = 73;
    public const int InputOutput = 74;
    public const int CommandFailed = 75; // notifications --exec: the command didn't end with 0
    public const int Signalled = 128; // + the signal
}
